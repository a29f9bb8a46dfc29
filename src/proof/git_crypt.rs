//! git-crypt: is the repository unlocked, and is what should be ciphertext ciphertext?
