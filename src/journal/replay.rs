//! Reading a journal back: every record in order, or the exact place where it cannot be trusted.

use super::record::{Body, Head, LineHash, Versioned, check};
use super::{JournalError, RunId, VERSION};
use crate::text::Clean;
use serde::de::DeserializeOwned;

/// A record that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<E> {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since the epoch.
    pub at: u64,
    /// What happened.
    pub event: E,
}

/// The end of a file that a write left unfinished. Its batch was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes are cut.
    pub bytes: u64,
    /// What is wrong with them: the rest of a sentence about the last line.
    pub cause: Clean,
}

/// What a journal says.
#[derive(Clone, Debug)]
pub struct Replay<E> {
    /// The run.
    pub run: RunId,
    /// Every whole record, at least one.
    pub records: Vec<Record<E>>,
    /// Bytes of the whole records: where the next one belongs. Cut the file to this length before a
    /// [`Writer`](super::Writer) goes on.
    pub good_len: u64,
    /// What follows them, if anything.
    pub torn: Option<Torn>,
    pub(super) last: LineHash,
}

impl<E> Replay<E> {
    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.records.last().map_or(1, |record| record.seq.saturating_add(1))
    }

    /// The hash of the last whole line, in hex: names this state of the journal.
    pub fn last_hash(&self) -> &str {
        self.last.as_str()
    }
}

/// Reads a journal.
///
/// # Errors
/// [`JournalError::NoHeader`] where not even one whole record is there, [`JournalError::Damaged`],
/// [`JournalError::Version`] or [`JournalError::UnknownEvent`] at the first line that is wrong.
pub fn replay<E: DeserializeOwned>(bytes: &[u8]) -> Result<Replay<E>, JournalError> {
    let mut records = Vec::new();
    let mut run: Option<RunId> = None;
    let mut last = LineHash::zero();
    let mut torn = None;
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let place = Place { line: records.len() as u64 + 1, offset: offset as u64 };
        let (line, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (rest.get(..at).unwrap_or_default(), Some(offset + at + 1)),
            None => (rest, None),
        };
        // A line without its line feed was not written to its end, even if the record itself is whole.
        let whole = check(line).and(end.ok_or("it does not end in a line feed"));
        let end = match whole {
            Ok(end) => end,
            Err(cause) => {
                if end.is_some_and(|end| end < bytes.len()) || holds_whole_record(line) {
                    return Err(place.damaged(cause));
                }
                torn = Some(Torn { bytes: rest.len() as u64, cause: Clean::new(cause) });
                break;
            }
        };
        let record = open(line, &place, records.len() as u64 + 1, &last, &mut run)?;
        records.push(record);
        last = LineHash::of(line);
        offset = end;
    }
    match run {
        Some(run) => Ok(Replay { run, records, good_len: offset as u64, torn, last }),
        None => Err(JournalError::NoHeader { torn: bytes.len() as u64 }),
    }
}

struct Place {
    line: u64,
    offset: u64,
}

impl Place {
    fn damaged(&self, cause: impl AsRef<str>) -> JournalError {
        JournalError::Damaged { line: self.line, offset: self.offset, cause: Clean::new(cause) }
    }
}

/// Opens a line whose checksum fits: from here on nothing is torn, only wrong.
fn open<E: DeserializeOwned>(
    line: &[u8],
    place: &Place,
    seq: u64,
    last: &LineHash,
    run: &mut Option<RunId>,
) -> Result<Record<E>, JournalError> {
    let not_a_record = |error: serde_json::Error| place.damaged(format!("it is not a record: {error}"));
    let Versioned { v } = serde_json::from_slice(line).map_err(not_a_record)?;
    if v != VERSION {
        return Err(JournalError::Version { line: place.line, offset: place.offset, version: v });
    }
    let head: Head = serde_json::from_slice(line).map_err(not_a_record)?;
    let id = RunId::parse(&head.run).map_err(|error| place.damaged(error.to_string()))?;
    match run {
        Some(run) if *run != id => return Err(place.damaged(format!("it belongs to run {id}, not to {run}"))),
        Some(_) => {}
        None => *run = Some(id),
    }
    if head.seq != seq {
        return Err(place.damaged(format!("it is record {}, where record {seq} belongs", head.seq)));
    }
    if head.prev != last.as_str() {
        return Err(place.damaged("it does not follow from the line before it"));
    }
    match serde_json::from_slice::<Body<E>>(line) {
        Ok(body) => Ok(Record { seq, at: head.at, event: body.event }),
        Err(error) => Err(JournalError::UnknownEvent {
            line: place.line,
            offset: place.offset,
            cause: Clean::new(error.to_string()),
        }),
    }
}

/// Whether a broken last line holds a whole record further on: then a line feed was lost in the middle of the journal,
/// which no unfinished write does. Only the last few places are tried; damage there is rare and lines are long.
fn holds_whole_record(line: &[u8]) -> bool {
    const START: &[u8] = b"{\"v\":";
    let starts = line.windows(START.len()).enumerate().skip(1).filter(|(_, window)| *window == START);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    starts.iter().rev().take(64).any(|at| line.get(*at..).is_some_and(|rest| check(rest).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Event, Memory, journal, run};
    use super::super::{Writer, record};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn fault(bytes: &[u8]) -> String {
        replay::<Event>(bytes).unwrap_err().to_string()
    }

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// A line with a right checksum and a right chain, and content of the test's choice.
    fn sealed(seq: u64, prev: &str, edit: impl Fn(&mut String)) -> Vec<u8> {
        let event = json!({ "Note": "x" });
        let mut line =
            format!(r#"{{"v":1,"seq":{seq},"run":"{}","prev":"{prev}","at":0,"event":{event}"#, run());
        edit(&mut line);
        let crc = crc32fast::hash(line.as_bytes());
        format!("{line},\"crc\":\"{crc:08x}\"}}\n").into_bytes()
    }

    #[test]
    fn what_was_written_is_read() {
        let events =
            [Event::Note("a\n\"b\"\u{2028}".to_owned()), Event::Count { of: u64::MAX, value: 0.1 + 0.2 }];
        let bytes = journal(&[&events]);
        let replay = replay::<Event>(&bytes).unwrap();
        assert_eq!(replay.run, run());
        assert_eq!(replay.records.iter().map(|r| (r.seq, r.at)).collect::<Vec<_>>(), [(1, 7), (2, 7)]);
        assert_eq!(replay.records.iter().map(|r| r.event.clone()).collect::<Vec<_>>(), events);
        assert_eq!((replay.good_len, replay.torn.as_ref()), (bytes.len() as u64, None));
        assert_eq!(replay.next_seq(), 3);
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let bytes = journal(&[&[Event::Note("a".to_owned()), Event::Count { of: 1, value: 2.0 }]]);
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap().trim_end(), @r#"
        {"v":1,"seq":1,"run":"tracing-20261123-031500-ab12cd","prev":"00000000000000000000000000000000","at":7,"event":{"Note":"a"},"crc":"44ed2e66"}
        {"v":1,"seq":2,"run":"tracing-20261123-031500-ab12cd","prev":"04407c6d3d5e3e3ba08668fe81a90b26","at":7,"event":{"Count":{"of":1,"value":2.0}},"crc":"969faabb"}
        "#);
    }

    #[test]
    fn an_empty_journal_has_its_own_word() {
        assert_eq!(replay::<Event>(b"").unwrap_err(), JournalError::NoHeader { torn: 0 });
        let bytes = journal(&[&[Event::Note("a".to_owned())]]);
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(replay::<Event>(cut).unwrap_err(), JournalError::NoHeader { torn: cut.len() as u64 });
        assert_eq!(replay::<Event>(&[0; 4096]).unwrap_err(), JournalError::NoHeader { torn: 4096 });
    }

    #[test]
    fn damage_in_the_middle_is_refused_with_its_place() {
        let bytes = journal(&[&[
            Event::Note("a".to_owned()),
            Event::Note("b".to_owned()),
            Event::Note("c".to_owned()),
        ]]);
        let lines = lines(&bytes);
        let [one, two, three] = &lines[..] else { panic!() };

        let mut damaged = bytes.clone();
        damaged[one.len() + 120] ^= 1;
        insta::assert_snapshot!(fault(&damaged), @"the journal is damaged at line 2 (byte 142): its checksum does not fit");
        insta::assert_snapshot!(fault(&[one.as_slice(), three].concat()),
            @"the journal is damaged at line 2 (byte 142): it is record 3, where record 2 belongs");
        insta::assert_snapshot!(fault(&[one.as_slice(), one].concat()),
            @"the journal is damaged at line 2 (byte 142): it is record 1, where record 2 belongs");
        insta::assert_snapshot!(fault(&[two.as_slice(), three].concat()),
            @"the journal is damaged at line 1 (byte 0): it is record 2, where record 1 belongs");
        insta::assert_snapshot!(fault(&[one.as_slice(), b"\n", two].concat()),
            @"the journal is damaged at line 2 (byte 142): it is too short for a record");
        insta::assert_snapshot!(fault(&[one.as_slice(), two, b"x\ny\n"].concat()),
            @"the journal is damaged at line 3 (byte 284): it is too short for a record");

        // A record that was replaced by another of the same number, with a right checksum of its own.
        let other = sealed(2, "00000000000000000000000000000000", |_| {});
        insta::assert_snapshot!(fault(&[one.as_slice(), &other, three].concat()),
            @"the journal is damaged at line 2 (byte 142): it does not follow from the line before it");
    }

    #[test]
    fn a_lost_line_feed_is_damage_and_not_a_torn_end() {
        let bytes = journal(&[&[Event::Note("a".to_owned()), Event::Note("b".to_owned())]]);
        let mut joined = bytes.clone();
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        joined[at] ^= 1;
        insta::assert_snapshot!(fault(&joined), @"the journal is damaged at line 1 (byte 0): its checksum does not fit");
    }

    #[test]
    fn records_of_another_run_are_refused() {
        let one = journal(&[&[Event::Note("a".to_owned())]]);
        let prev = LineHash::of(&one[..one.len() - 1]);
        let other = RunId::parse("tracing-20261123-031501-ab12cd").unwrap();
        let line = record::seal(&other, 2, &prev, 0, &Event::Note("b".to_owned())).unwrap();
        let bytes = [one.as_slice(), &line, b"\n"].concat();
        insta::assert_snapshot!(fault(&bytes),
            @"the journal is damaged at line 2 (byte 142): it belongs to run tracing-20261123-031501-ab12cd, not to tracing-20261123-031500-ab12cd");
    }

    #[test]
    fn what_a_newer_program_wrote_is_refused_and_not_misread() {
        let zero = "0".repeat(32);
        let newer = sealed(1, &zero, |line| *line = line.replace("\"v\":1,", "\"v\":2,\"flavour\":{},"));
        let error = replay::<Event>(&newer).unwrap_err();
        insta::assert_snapshot!(format!("{error}; hint: {}", error.hint()),
            @"line 1 of the journal (byte 0) has format version 2; this program reads version 1; hint: use the firstlight that wrote this journal, or a newer one");

        let unknown = sealed(1, &zero, |line| *line = line.replace("\"Note\"", "\"Sang\""));
        let error = replay::<Event>(&unknown).unwrap_err();
        insta::assert_snapshot!(format!("{error}; hint: {}", error.hint()),
            @"line 1 of the journal (byte 0) holds an event that this program does not know: unknown variant `Sang`, expected `Note` or `Count` at line 1 column 118; hint: use the firstlight that wrote this journal, or a newer one");
    }

    #[test]
    fn a_sealed_line_that_is_no_record_is_refused() {
        let strange = sealed(1, "", |line| *line = "[1".to_owned());
        assert!(fault(&strange).starts_with("the journal is damaged at line 1 (byte 0): it is not a record"));
        let hostile = sealed(1, "", |line| *line = line.replace(run().as_str(), "../\\u001b[2J"));
        let text = fault(&hostile);
        assert!(text.contains("is not the name of a run") && !text.contains('\x1b'), "{text}");
    }

    #[tokio::test]
    async fn a_writer_goes_on_where_the_replay_ends() {
        let bytes = journal(&[&[Event::Note("a".to_owned())], &[Event::Note("b".to_owned())]]);
        let torn = &bytes[..bytes.len() - 5];
        let first = replay::<Event>(torn).unwrap();
        let memory = Memory::holding(&torn[..first.good_len as usize]);
        let mut writer = Writer::resume(Box::new(memory.clone()), &first);
        writer.append(9, &[Event::Note("c".to_owned())]).await.unwrap();
        let second = replay::<Event>(&memory.bytes()).unwrap();
        assert_eq!(second.records.iter().map(|r| (r.seq, r.at)).collect::<Vec<_>>(), [(1, 7), (2, 9)]);
        assert_eq!(second.torn, None);
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let text = prop_oneof![any::<String>(), Just("{\"v\":1,\"seq\":2}\n".to_owned())];
        let event = prop_oneof![
            text.prop_map(Event::Note),
            (any::<u64>(), -1e9..1e9).prop_map(|(of, value)| Event::Count { of, value: f64::trunc(value) }),
        ];
        proptest::collection::vec(event, 1..8)
    }

    proptest! {
        #[test]
        fn every_prefix_is_a_prefix_of_the_records(events in events()) {
            let bytes = journal(&[&events]);
            let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
            for len in 0..=bytes.len() {
                let whole = ends.iter().filter(|end| **end <= len).count();
                match replay::<Event>(&bytes[..len]) {
                    Err(JournalError::NoHeader { torn }) => prop_assert!(whole == 0 && torn == len as u64),
                    Err(error) => prop_assert!(false, "{}: {}", len, error),
                    Ok(replay) => {
                        prop_assert_eq!(replay.records.len(), whole);
                        prop_assert!(replay.records.iter().map(|r| &r.event).eq(&events[..whole]));
                        prop_assert_eq!(replay.good_len, ends[whole - 1] as u64);
                        let rest = len as u64 - replay.good_len;
                        prop_assert_eq!(replay.torn.map(|torn| torn.bytes), (rest > 0).then_some(rest));
                    }
                }
            }
        }

        #[test]
        fn no_flipped_bit_yields_another_record(events in events(), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = journal(&[&events]);
            let last = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            match replay::<Event>(&bytes) {
                Err(JournalError::NoHeader { .. }) => prop_assert_eq!(events.len(), 1),
                Err(_) => {}
                Ok(replay) => {
                    // Only damage in the last line passes as a torn end, and costs that line alone.
                    prop_assert!(at >= last);
                    prop_assert_eq!(replay.good_len, last as u64);
                    prop_assert!(replay.torn.is_some());
                    prop_assert!(replay.records.iter().map(|r| &r.event).eq(&events[..events.len() - 1]));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(), events in events()) {
            let _ = replay::<Value>(&bytes);
            let mut mixed = journal(&[&events]);
            let at = cut.index(mixed.len());
            mixed.splice(at..at, bytes.iter().copied());
            if let Ok(replay) = replay::<Event>(&mixed) {
                prop_assert!(replay.records.iter().map(|r| &r.event).eq(&events[..replay.records.len()]));
            }
        }
    }
}
