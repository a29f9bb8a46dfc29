//! The closed enum of everything that changes the world.
