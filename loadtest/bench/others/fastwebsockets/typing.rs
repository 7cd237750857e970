//! A typing test as the comparison's servers keep it (see loadtest/bench/steady.py): frames of keys in, ticks out.

/// As much of msgpack as a frame of keys has.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<u32> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken.iter().fold(0, |value, &one| value << 8 | u32::from(one)))
    }

    fn sized(&mut self, tag: u32, mask: u32, wide: u32) -> Option<u32> {
        let first = self.take(1)?;
        match first {
            _ if first & !mask == tag => Some(first & mask),
            _ if first == wide => self.take(2),
            _ => None,
        }
    }

    fn map(&mut self) -> Option<u32> {
        self.sized(0x80, 0x0f, 0xde)
    }

    fn list(&mut self) -> Option<u32> {
        self.sized(0x90, 0x0f, 0xdc)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let size = self.sized(0xa0, 0x1f, 0xda)? as usize;
        let (text, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(text)
    }

    fn number(&mut self) -> Option<u32> {
        match self.take(1)? {
            first @ 0..=0x7f => Some(first),
            first @ 0xcc..=0xce => self.take(1 << (first - 0xcc)),
            _ => None,
        }
    }
}

#[derive(Default)]
pub struct Typing {
    target: Vec<u8>,
    history: Vec<u8>,
    holds: Vec<u16>,
    right: Vec<bool>,
    n: u32,
    ticked: u32,
    place: usize,
    word: u32,
    word_place: usize,
    committed: usize,
    inserts: u32,
    errors: u32,
    time_ms: u32,
}

impl Typing {
    pub fn new(target: &[u8]) -> Self {
        Self { target: target.to_vec(), ..Self::default() }
    }

    /// One frame; None where it is not what comes next.
    pub fn keys(&mut self, frame: &[u8]) -> Option<()> {
        let mut reader = Reader(frame);
        for _ in 0..reader.map()? {
            match *reader.text()?.first()? {
                b't' => drop(reader.text()?),
                b'n' if reader.number()? == self.n => (),
                b'e' => {
                    for _ in 0..reader.list()? / 2 {
                        let gap_ms = reader.number()?;
                        self.key(gap_ms, reader.text()?);
                    }
                }
                b'h' => {
                    for _ in 0..reader.list()? / 2 {
                        let (event, hold_ms) = (reader.number()?, reader.number()?);
                        if let Some(hold) = self.holds.get_mut(event as usize) {
                            *hold = hold_ms as u16;
                        }
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn key(&mut self, gap_ms: u32, typed: &[u8]) {
        self.time_ms += if self.n > 0 { gap_ms } else { 0 };
        self.n += 1;
        self.history.extend([gap_ms as u8, (gap_ms >> 8) as u8]);
        self.history.extend(typed);
        self.holds.push(0);
        if typed == b"\x08" {
            if self.place > self.word_place {
                self.place -= 1;
                self.right.pop();
            }
            return;
        }
        let correct = typed == &self.target[self.place % self.target.len()..][..1];
        self.inserts += 1;
        self.errors += u32::from(!correct);
        self.right.push(correct);
        self.place += 1;
        if typed == b" " {
            if self.right.iter().all(|&one| one) {
                self.committed += self.place - self.word_place;
            }
            self.right.clear();
            self.word_place = self.place;
            self.word += 1;
        }
    }

    /// The tick's message; None where nothing came since the last one.
    pub fn tick(&mut self) -> Option<Vec<u8>> {
        if self.n == self.ticked {
            return None;
        }
        self.ticked = self.n;
        let active = self.right.iter().take_while(|&&one| one).count();
        let speed = if self.time_ms > 0 { 12_000.0 / f64::from(self.time_ms) } else { 0.0 };
        let acc = if self.inserts > 0 { 100.0 * f64::from(self.inserts - self.errors) / f64::from(self.inserts) } else { 100.0 };
        let mut out = Vec::with_capacity(160);
        number(&mut out, b"\x88\xa1t\xa4tick\xa1n", self.n);
        out.extend(b"\xa1r\xc4\x40");
        out.extend([b'r'; 64]); // a receipt's place: making one is not asked of these servers
        real(&mut out, b"\xa3wpm", speed * (self.committed + active) as f64);
        real(&mut out, b"\xa3raw", speed * self.place as f64);
        real(&mut out, b"\xa3acc", acc);
        number(&mut out, b"\xa3pos\x92", self.word);
        number(&mut out, b"", (self.place - self.word_place) as u32);
        number(&mut out, b"\xa3err", self.errors);
        Some(out)
    }
}

fn number(out: &mut Vec<u8>, name: &[u8], value: u32) {
    out.extend(name);
    out.push(0xcd);
    out.extend((value as u16).to_be_bytes());
}

fn real(out: &mut Vec<u8>, name: &[u8], value: f64) {
    out.extend(name);
    out.push(0xcb);
    out.extend(value.to_be_bytes());
}
