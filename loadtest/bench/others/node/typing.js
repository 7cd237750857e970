// A typing test as the comparison's servers keep it (see loadtest/bench/steady.py): frames of keys in, ticks out.
"use strict";

// As much of msgpack as a frame of keys has.
class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  take(bytes) {
    const at = this.at;
    this.at += bytes;
    return bytes === 1 ? this.data[at] : this.data.readUIntBE(at, bytes); // throws beyond the end
  }

  sized(tag, mask, wide) {
    const first = this.take(1);
    if ((first & ~mask) === tag) return first & mask;
    if (first !== wide) throw new RangeError("not a frame of keys");
    return this.take(2);
  }

  map() { return this.sized(0x80, 0x0f, 0xde); }
  list() { return this.sized(0x90, 0x0f, 0xdc); }

  text() {
    const size = this.sized(0xa0, 0x1f, 0xda);
    this.at += size;
    if (size === 1) return String.fromCharCode(this.data[this.at - 1]);
    return this.data.latin1Slice(this.at - size, this.at);
  }

  number() {
    const first = this.take(1);
    if (first < 0x80) return first;
    if (first < 0xcc || first > 0xce) throw new RangeError("not a frame of keys");
    return this.take(1 << (first - 0xcc));
  }
}

class Typing {
  constructor(target) {
    this.target = target.toString("latin1");
    this.history = Buffer.alloc(4096);
    this.size = 0;
    this.holds = [];
    this.right = [];
    this.n = this.ticked = this.place = this.word = this.wordPlace = 0;
    this.committed = this.inserts = this.errors = this.timeMs = 0;
  }

  // One frame; throws where it is not what comes next.
  keys(frame) {
    const reader = new Reader(frame);
    for (let fields = reader.map(); fields > 0; fields--) {
      switch (reader.text()) {
        case "t":
          reader.text();
          break;
        case "n":
          if (reader.number() !== this.n) throw new RangeError("not the next frame");
          break;
        case "e":
          for (let pairs = reader.list() / 2; pairs > 0; pairs--) {
            const gapMs = reader.number();
            this.key(gapMs, reader.text());
          }
          break;
        case "h":
          for (let pairs = reader.list() / 2; pairs > 0; pairs--) {
            const event = reader.number();
            const holdMs = reader.number();
            if (event < this.holds.length) this.holds[event] = holdMs;
          }
          break;
        default:
          throw new RangeError("not a frame of keys");
      }
    }
  }

  key(gapMs, typed) {
    if (this.n++) this.timeMs += gapMs;
    if (this.size + 4 > this.history.length) this.history = Buffer.concat([this.history, this.history]);
    this.history[this.size++] = gapMs;
    this.history[this.size++] = gapMs >> 8;
    this.history[this.size++] = typed.charCodeAt(0);
    this.holds.push(0);
    if (typed === "\b") {
      if (this.place > this.wordPlace) {
        this.place--;
        this.right.pop();
      }
      return;
    }
    const correct = typed === this.target[this.place % this.target.length];
    this.inserts++;
    if (!correct) this.errors++;
    this.right.push(correct);
    this.place++;
    if (typed === " ") {
      if (this.right.every(Boolean)) this.committed += this.place - this.wordPlace;
      this.right.length = 0;
      this.wordPlace = this.place;
      this.word++;
    }
  }

  // The tick's message; null where nothing came since the last one.
  tick() {
    if (this.n === this.ticked) return null;
    this.ticked = this.n;
    let active = 0;
    while (active < this.right.length && this.right[active]) active++;
    const speed = this.timeMs ? 12000 / this.timeMs : 0;
    const out = Buffer.allocUnsafe(LENGTH);
    HEAD.copy(out);
    let at = out.writeUInt16BE(this.n, HEAD.length);
    at += RECEIPT.copy(out, at);
    at = real(out, at, "\xa3wpm\xcb", speed * (this.committed + active));
    at = real(out, at, "\xa3raw\xcb", speed * this.place);
    at = real(out, at, "\xa3acc\xcb", this.inserts ? (100 * (this.inserts - this.errors)) / this.inserts : 100);
    at += out.write("\xa3pos\x92\xcd", at, "latin1");
    at = out.writeUInt16BE(this.word, at);
    out[at++] = 0xcd;
    at = out.writeUInt16BE(this.place - this.wordPlace, at);
    at += out.write("\xa3err\xcd", at, "latin1");
    out.writeUInt16BE(this.errors, at);
    return out;
  }
}

const HEAD = Buffer.from("\x88\xa1t\xa4tick\xa1n\xcd", "latin1");
const RECEIPT = Buffer.from("\xa1r\xc4\x40" + "r".repeat(64), "latin1"); // making one is not asked of these servers
const LENGTH = HEAD.length + 2 + RECEIPT.length + 3 * 13 + 11 + 7;

function real(out, at, name, value) {
  return out.writeDoubleBE(value, at + out.write(name, at, "latin1"));
}

module.exports = { Typing };
