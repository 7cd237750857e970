/**
 * The scoring rules, as the page needs them: which character is right, where a word ends, what a delete takes back, and
 * every figure of a finished test. It follows the server's scorer rule by rule (tests hold the two to the same digits),
 * but the server's score is the score: what is computed here only colours the text and draws plots.
 *
 * Characters are NFC grapheme clusters. A word is the array of its clusters, its closing space included where it has
 * one. Times are milliseconds since the first key. A log is flat: `[dt, key, dt, key, ...]`.
 *
 * @module
 */

/** Deletes one cluster. */
export const DELETE_ONE = "\b";
/** Deletes the word that is being typed. */
export const DELETE_WORD = "\u0017";

/** A character is ignored where this many stand beyond the word's target already. */
const MOST_EXTRA = 20;
/** After giving up, and in zen, an idle end shorter than this does not count (ms). */
const IDLE_END_MS = 7000;
/** No test is longer. */
const LONGEST_MS = 3_600_000;
/** A cluster takes no more UTF-8 than this. */
const CLUSTER_BYTES = 64;
const SECOND_MS = 1000;

/** @typedef {string[]} Word clusters, the closing space included */
/** @typedef {{allCorrect: number, correctWord: number, incorrect: number, extra: number, missed: number}} CharCounts */

/** Two decimals, halves up; the small number mends products such as 1.005 · 100. @param {number} x */
export function roundTo2(x) {
  return Math.floor((x + Number.EPSILON) * 100 + 0.5) / 100;
}

/** Halves up. @param {number} x */
export function whole(x) {
  return Math.floor(x + 0.5);
}

/** Words of five characters a minute, not rounded; 0 for no time. @param {number} chars @param {number} ms */
export function wordsPerMinute(chars, ms) {
  return ms > 0 ? chars / 5 / (ms / 60000) : 0;
}

/** Evenness in per cent of a coefficient of variation. @param {number} c */
export function kogasa(c) {
  return 100 * (1 - Math.tanh(c + c ** 3 / 3 + c ** 5 / 5));
}

/** Mean and population standard deviation; both 0 for none. @param {number[]} list */
export function spread(list) {
  const n = list.length;
  if (n === 0) return { n, mean: 0, sd: 0 };
  const mean = list.reduce((sum, x) => sum + x, 0) / n;
  const sd = Math.sqrt(list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n);
  return { n, mean, sd };
}

/** How even a list of speeds or gaps is, 0 to 100; 0 for an empty list or a mean of 0. @param {number[]} list */
export function evenness(list) {
  const { mean, sd } = spread(list);
  return mean === 0 ? 0 : roundTo2(kogasa(sd / mean));
}

/**
 * Rates of Soukoreff and MacKenzie (CHI 2003), as fractions.
 *
 * @param {{presented: string[], transcribed: string[], keys: number, correct: number, wrongLeft: number,
 *   wrongFixed: number}} log `keys` counts every key, deletes too
 */
export function errorRates({ presented, transcribed, keys, correct, wrongLeft, wrongFixed }) {
  const longer = Math.max(presented.length, transcribed.length);
  const all = correct + wrongLeft + wrongFixed;
  return {
    msd: longer ? editDistance(presented, transcribed) / longer : 0,
    kspc: transcribed.length ? keys / transcribed.length : 0,
    total: all ? (wrongLeft + wrongFixed) / all : 0,
    corrected: all ? wrongFixed / all : 0,
    uncorrected: all ? wrongLeft / all : 0,
  };
}

/** Levenshtein's distance in one row. @param {string[]} a @param {string[]} b */
function editDistance(a, b) {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0];
    row[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j];
      row[j] = Math.min(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1));
      diagonal = above;
    }
  }
  return row[b.length];
}

/**
 * Whether a typed cluster is a mere beginning of the target's, to be gone on with by a mark or joiner.
 *
 * @param {string | undefined} typed @param {string | undefined} target
 */
export function isBeginning(typed, target) {
  return typed !== undefined && target !== undefined && typed.length < target.length && target.startsWith(typed);
}

/**
 * Counts one word's characters.
 *
 * @param {Word} input @param {Word} target
 * @param {boolean} creditPartial the word is still being typed: nothing is missed, and a right beginning counts
 * @returns {CharCounts}
 */
export function countChars(input, target, creditPartial) {
  const counts = { allCorrect: 0, correctWord: 0, incorrect: 0, extra: 0, missed: 0 };
  const right = input.length === target.length && input.every((c, i) => c === target[i]);
  const spaced = input.includes(" ");
  const longer = Math.max(input.length, target.length);
  let equal = 0;
  for (let i = 0; i < longer; i++) {
    const typed = input[i];
    const wanted = target[i];
    if (typed === undefined) {
      if (!creditPartial) counts.missed++;
    } else if (typed === wanted) {
      equal++;
      if (wanted === " " && !right) counts.extra++;
      else counts.allCorrect++;
    } else if (wanted === undefined || (wanted === " " && !spaced)) {
      counts.extra++;
    } else {
      counts.incorrect++;
    }
  }
  if (right || (creditPartial && equal === input.length)) counts.correctWord = equal;
  return counts;
}

const segmenter = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** Splits a text into grapheme clusters. @param {string} text @returns {string[]} */
export function clusters(text) {
  // Every code point below U+0300 is a cluster of its own (line ends do not occur in passages).
  if (!/[^\u0020-\u02ff]/.test(text)) return text.split("");
  if (segmenter) return Array.from(segmenter.segment(text), (part) => part.segment);
  return text.match(/.\p{M}*(?:\u200d.\p{M}*)*/gsu) ?? [];
}

/** A key as it counts: NFC, white space as a space. @param {string} key */
function asTyped(key) {
  return key.length === 1 && /\s/.test(key) ? " " : key.normalize("NFC");
}

/** Whether a key continues the cluster that stands before it: a mark, a joiner, a jamo. @param {string} before @param {string} key */
function continues(before, key) {
  if (isAscii(before) && isAscii(key)) return false;
  return clusters(before + key).length === 1;
}

/** @param {string} text */
function isAscii(text) {
  return text.length === 1 && text.charCodeAt(0) < 0x80;
}

const encoder = new TextEncoder();

/** One test, scored key by key; each key costs the length of a word, not of the test. */
export class Scorer {
  /**
   * @param {Word[]} words empty in zen
   * @param {{limitMs?: number | null, zen?: boolean, cyclic?: boolean, fromStart?: boolean}} [options] `limitMs`: a
   *   timed test, in which events at the limit or later are not scored; `cyclic`: after the last word the first comes
   *   again; `fromStart`: a race, in which time begins at the start instant, and not with the first event
   */
  constructor(words, { limitMs = null, zen = false, cyclic = false, fromStart = false } = {}) {
    this.words = words;
    this.limitMs = limitMs;
    this.zen = zen;
    this.cyclic = cyclic;
    this.fromStart = fromStart;
    /** What stands in each word up to the active one. @type {Word[]} */
    this.typed = [[]];
    this.active = 0;
    this.ended = false;
    /** When it ended. */
    this.endMs = 0;
    /** Events fed, and the time of the last. */
    this.n = 0;
    this.elapsedMs = 0;
    this.correctInserts = 0;
    this.wrongInserts = 0;
    /** [correctWord, characters typed] in all words before this one. */
    this.totals = [[0, 0]];
    /** The active word's own, or null where it must be counted again. @type {number[] | null} */
    this.activeCounts = null;
    /** A space ended the last word, which was wrong: it is no character. */
    this.closed = false;
    /** Time of each press. @type {number[]} */
    this.pressTimes = [];
    /** One for each second begun. @type {{inserts: number, wrong: number, busy: boolean}[]} */
    this.buckets = [];
    /** What stood at each whole second: [correctWord, characters]. @type {number[][]} */
    this.standing = [];
    this.lastPressMs = 0;
    this.standingAtLastPress = [0, 0];
  }

  /** The target of a word, or undefined beyond the text and in zen. @param {number} index @returns {Word | undefined} */
  target(index) {
    return this.words[this.cyclic ? index % this.words.length : index];
  }

  /** Whether a word is the one whose completion ends the test. @param {number} index */
  isLast(index) {
    return !this.zen && !this.cyclic && index === this.words.length - 1;
  }

  /** Feeds a flat log. @param {(number | string)[]} events */
  feed(events) {
    for (let i = 0; i < events.length; i += 2) {
      this.key(/** @type {number} */ (events[i]), /** @type {string} */ (events[i + 1]));
    }
  }

  /**
   * Takes one event. Events after the end, and at or after the limit, are counted in `n` but not scored.
   *
   * @param {number} dt ms since the event before; the first event's is reaction time, and part of a race alone
   * @param {string} key one cluster, a mark that continues the last, or a delete
   */
  key(dt, key) {
    this.at(this.n > 0 || this.fromStart ? this.elapsedMs + dt : 0, key);
  }

  /** Takes one event by its time since the first. @param {number} t @param {string} key */
  at(t, key) {
    this.n++;
    this.elapsedMs = t;
    if (this.ended) return;
    const longest = this.limitMs ?? LONGEST_MS;
    this.closeSeconds(Math.min(t, longest));
    if (t >= longest) {
      this.end(longest);
      return;
    }
    // A bucket is (k s, k + 1 s]; the first also holds time 0.
    const bucket = this.buckets[Math.max(0, Math.ceil(t / SECOND_MS) - 1)];
    if (key === DELETE_ONE || key === DELETE_WORD) {
      if (this.deleteBack(key === DELETE_WORD)) bucket.busy = true;
      if (t === this.lastPressMs) this.standingAtLastPress = this.counts();
      return;
    }
    bucket.busy = true;
    this.pressTimes.push(t);
    const insert = this.press(asTyped(key), t);
    if (insert !== null) {
      bucket.inserts++;
      if (insert) this.correctInserts++;
      else {
        this.wrongInserts++;
        bucket.wrong++;
      }
    }
    this.lastPressMs = t;
    this.standingAtLastPress = this.counts();
  }

  /** @param {number} t */
  end(t) {
    this.ended = true;
    this.endMs = t;
  }

  /** Notes what stands at each whole second before `t`, and opens the bucket of `t`. @param {number} t */
  closeSeconds(t) {
    while (this.standing.length * SECOND_MS + SECOND_MS < t) this.standing.push(this.counts());
    while (this.buckets.length * SECOND_MS < t || this.buckets.length === 0) {
      this.buckets.push({ inserts: 0, wrong: 0, busy: false });
    }
  }

  /** [correctWord, characters] over all that stands there, the active word credited as far as it is right. */
  counts() {
    const [correct, chars] = this.totals[this.active];
    if (this.activeCounts === null) this.activeCounts = this.wordCounts(this.active, true);
    return [correct + this.activeCounts[0], chars + this.activeCounts[1]];
  }

  /** @param {number} index @param {boolean} creditPartial */
  wordCounts(index, creditPartial) {
    const { correctWord, allCorrect, incorrect, extra } = this.charCounts(index, creditPartial);
    return [correctWord, allCorrect + incorrect + extra];
  }

  /** @param {number} index @param {boolean} creditPartial */
  charCounts(index, creditPartial) {
    const input = this.typed[index];
    const target = this.zen ? input : (this.target(index) ?? []);
    // A cluster that is not yet whole is as good as not typed, for as long as a mark may still come.
    const pending = index === this.active && !this.closed && isBeginning(input[input.length - 1], target[input.length - 1]);
    return countChars(pending ? input.slice(0, -1) : input, target, creditPartial);
  }

  /** A press: true for a correct insert, false for a wrong one, null where it is ignored. @param {string} key @param {number} t */
  press(key, t) {
    let input = this.typed[this.active];
    this.activeCounts = null;
    if (key === " ") return this.space(input, t);
    const last = input.length - 1;
    if (last >= 0 && continues(input[last], key)) {
      const whole = (input[last] + key).normalize("NFC");
      if (encoder.encode(whole).length > CLUSTER_BYTES) return null;
      input[last] = whole;
    } else {
      const target = this.zen ? null : (this.target(this.active) ?? []);
      if (target !== null && input.length >= target.length) {
        if (target[target.length - 1] !== " " && !this.isLast(this.active)) {
          // A script without spaces: the word ends when the next one begins.
          this.advance();
          input = this.typed[this.active];
        } else if (input.length >= target.length + MOST_EXTRA) {
          return null;
        }
      }
      input.push(key);
    }
    return this.judge(input, t);
  }

  /** A space ends the word, early and late too. @param {Word} input @param {number} t */
  space(input, t) {
    if (input.length === 0) return null;
    const target = this.zen ? null : (this.target(this.active) ?? []);
    const right = target === null || target[input.length] === " ";
    if (this.isLast(this.active)) {
      const completes = right && this.isRight(this.active, [...input, " "]);
      if (completes) input.push(" ");
      else this.closed = true;
      this.end(t);
      return completes;
    }
    input.push(" ");
    this.advance();
    return right;
  }

  /** Judges the cluster typed last, and ends the test with its last word. @param {Word} input @param {number} t */
  judge(input, t) {
    if (this.zen) return true;
    const wanted = this.target(this.active)?.[input.length - 1];
    if (this.isLast(this.active) && this.isRight(this.active)) this.end(t);
    return wanted !== undefined && wanted.startsWith(input[input.length - 1]);
  }

  /** The next word becomes active. */
  advance() {
    const [correct, chars] = this.totals[this.active];
    this.active++; // first: what stood in the word is settled now, a cluster that is not whole is wrong
    const [wordCorrect, wordChars] = this.wordCounts(this.active - 1, false);
    this.totals[this.active] = [correct + wordCorrect, chars + wordChars];
    this.typed[this.active] = [];
    this.activeCounts = null;
  }

  /** Whether a word stands as its target has it. @param {number} index @param {Word} [input] */
  isRight(index, input = this.typed[index]) {
    const target = this.target(index) ?? [];
    return this.zen || (input.length === target.length && input.every((c, i) => c === target[i]));
  }

  /** A delete; false where it has nothing to take. @param {boolean} wholeWord */
  deleteBack(wholeWord) {
    let input = this.typed[this.active];
    if (input.length === 0) {
      if (this.active === 0 || this.isRight(this.active - 1)) return false;
      this.typed.pop();
      this.active--;
      input = this.typed[this.active];
    }
    this.activeCounts = null;
    if (wholeWord) input.length = 0;
    else input.pop();
    return true;
  }

  /** The figures that a tick shows, after the events so far. */
  figures() {
    const [correct, chars] = this.counts();
    const inserts = this.correctInserts + this.wrongInserts;
    const ms = this.ended ? this.endMs : this.elapsedMs;
    return {
      wpm: roundTo2(wordsPerMinute(correct, ms)),
      raw: roundTo2(wordsPerMinute(chars, ms)),
      acc: inserts ? roundTo2((100 * this.correctInserts) / inserts) : 100,
      word: this.active,
      cluster: this.typed[this.active].length,
      err: this.wrongInserts,
    };
  }

  /**
   * What a finished test says.
   *
   * @param {{endMs?: number, gaveUp?: boolean, exact?: boolean}} [end] `endMs`: when it ended, unless at the limit or
   *   with the last event; `exact`: speeds are made with the duration as it is, not rounded to 10 ms (mode `text`)
   */
  summary({ endMs, gaveUp = false, exact = false } = {}) {
    const timed = this.limitMs !== null;
    const last = this.ended ? this.endMs : this.elapsedMs;
    let stop = endMs ?? (this.limitMs !== null && !gaveUp ? this.limitMs : last);
    if ((this.zen || gaveUp) && this.pressTimes.length && stop - this.lastPressMs < IDLE_END_MS) stop = this.lastPressMs;

    const chars = { allCorrect: 0, correctWord: 0, incorrect: 0, extra: 0, missed: 0 };
    for (let index = 0; index <= this.active; index++) {
      const counts = this.charCounts(index, index === this.active && (timed || gaveUp));
      for (const name of /** @type {(keyof CharCounts)[]} */ (Object.keys(chars))) chars[name] += counts[name];
    }
    const seconds = exact ? stop / 1000 : roundTo2(stop / 1000);
    const duration = seconds * 1000;
    const inserts = this.correctInserts + this.wrongInserts;
    const series = this.series(stop, timed);
    const gaps = this.pressTimes.slice(1).map((t, i) => t - this.pressTimes[i]);
    return {
      wpm: roundTo2(wordsPerMinute(chars.correctWord, duration)),
      raw: roundTo2(wordsPerMinute(chars.allCorrect + chars.incorrect + chars.extra, duration)),
      acc: inserts ? roundTo2((100 * this.correctInserts) / inserts) : 0,
      consistency: evenness(series.burst),
      key_consistency: evenness(gaps.slice(0, -1)),
      wpm_consistency: evenness(series.wpm),
      chars: [chars.correctWord, chars.incorrect, chars.extra, chars.missed],
      total_chars: chars.allCorrect + chars.incorrect + chars.extra,
      inserts: [this.correctInserts, this.wrongInserts],
      duration_ms: stop,
      seconds,
      afk_ms: series.idle * SECOND_MS,
      series: { wpm: series.wpm, raw: series.raw, burst: series.burst, err: series.err },
      gaps,
      input: this.typed.map((word) => word.join("")).filter((word, i) => word !== "" || i < this.active),
    };
  }

  /** The figures second by second. @param {number} stop @param {boolean} timed */
  series(stop, timed) {
    const seconds = Math.floor(stop / SECOND_MS);
    const rest = roundTo2(stop / 1000) % 1;
    const bounds = Array.from({ length: seconds }, (_, k) => (k + 1) * SECOND_MS);
    if (!timed && rest >= 0.5) bounds.push(stop);
    /** @type {{wpm: number[], raw: number[], burst: number[], err: number[], idle: number}} */
    const result = { wpm: [], raw: [], burst: [], err: [], idle: 0 };
    const now = this.counts();
    bounds.forEach((bound, k) => {
      const { inserts, wrong, busy } = this.buckets[k] ?? { inserts: 0, wrong: 0, busy: false };
      // What stands at a bound that no later event has closed: all there is now, but not what was taken back after it.
      const open = bound === this.lastPressMs ? this.standingAtLastPress : now;
      const [correct, chars] = (bound === (k + 1) * SECOND_MS && this.standing[k]) || open;
      result.wpm.push(whole(wordsPerMinute(correct, bound)));
      result.raw.push(whole(wordsPerMinute(chars, bound)));
      result.burst.push(whole(wordsPerMinute(inserts, bound - k * SECOND_MS)));
      result.err.push(wrong);
      if (!busy) result.idle++;
    });
    return result;
  }
}

/**
 * Gaps, holds and overlap of presses.
 *
 * @param {[number, string, number][]} presses press time, key and hold (ms), without deletes
 */
export function keyTimes(presses) {
  const gaps = presses.slice(1).map(([t], i) => t - presses[i][0]);
  const holds = presses.map(([, , hold]) => hold);
  const again = new Map();
  for (let i = presses.length - 1; i >= 0; i--) {
    const [t, key, hold] = presses[i];
    const next = again.get(key);
    if (next !== undefined) holds[i] = Math.min(hold, next - t);
    again.set(key, t);
  }
  return { spacing: spread(gaps), duration: spread(holds), overlap: roundTo2(overlap(presses, holds)) };
}

/** Time in which two or more holds run at once. @param {[number, string, number][]} presses @param {number[]} holds */
function overlap(presses, holds) {
  const edges = presses.flatMap(([t], i) => [
    [t, 1],
    [t + holds[i], -1],
  ]);
  edges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let down = 0;
  let since = 0;
  let sum = 0;
  for (const [t, step] of edges) {
    if (down >= 2) sum += t - since;
    down += step;
    since = t;
  }
  return sum;
}
