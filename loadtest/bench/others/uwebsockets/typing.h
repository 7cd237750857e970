// A typing test as the comparison's servers keep it (see loadtest/bench/steady.py): frames of keys in, ticks out.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

// As much of msgpack as a frame of keys has.
class Reader {
public:
    explicit Reader(std::string_view data) : at_(reinterpret_cast<const uint8_t *>(data.data())), end_(at_ + data.size()) {}

    bool bad = false;

    uint32_t map() { return sized(0x80, 0x0f, 0xde); }
    uint32_t list() { return sized(0x90, 0x0f, 0xdc); }
    std::string_view text() {
        uint32_t size = sized(0xa0, 0x1f, 0xda);
        if (bad || static_cast<size_t>(end_ - at_) < size) {
            bad = true;
            return {};
        }
        at_ += size;
        return {reinterpret_cast<const char *>(at_ - size), size};
    }
    uint32_t number() {
        uint32_t first = take(1);
        if (first < 0x80) return first;
        if (first < 0xcc || first > 0xce) bad = true;
        return bad ? 0 : take(1 << (first - 0xcc));
    }

private:
    const uint8_t *at_, *end_;

    uint32_t take(int bytes) {
        if (end_ - at_ < bytes) {
            bad = true;
            return 0;
        }
        uint32_t value = 0;
        while (bytes--) value = value << 8 | *at_++;
        return value;
    }
    uint32_t sized(uint8_t tag, uint8_t mask, uint8_t wide) {
        uint32_t first = take(1);
        if ((first & ~mask) == tag) return first & mask;
        if (first != wide) bad = true;
        return bad ? 0 : take(2);
    }
};

struct Typing {
    std::string target, history;
    std::vector<uint16_t> holds;
    std::vector<bool> right;
    uint32_t n = 0, ticked = 0, place = 0, word = 0, word_place = 0, committed = 0, inserts = 0, errors = 0;
    uint64_t time_ms = 0;

    // One frame; false where it is not what comes next.
    bool keys(std::string_view frame) {
        Reader reader(frame);
        for (uint32_t fields = reader.map(); fields--;) {
            std::string_view name = reader.text();
            if (reader.bad) return false;
            switch (name.front()) {
                case 't': reader.text(); break;
                case 'n': if (reader.number() != n) return false; break;
                case 'e':
                    for (uint32_t pairs = reader.list() / 2; pairs--;) {
                        uint32_t gap_ms = reader.number();
                        key(gap_ms, reader.text());
                    }
                    break;
                case 'h':
                    for (uint32_t pairs = reader.list() / 2; pairs--;) {
                        uint32_t event = reader.number(), hold_ms = reader.number();
                        if (event < holds.size()) holds[event] = hold_ms;
                    }
                    break;
                default: return false;
            }
        }
        return !reader.bad;
    }

    void key(uint32_t gap_ms, std::string_view typed) {
        time_ms += n ? gap_ms : 0;
        n++;
        history.push_back(static_cast<char>(gap_ms));
        history.push_back(static_cast<char>(gap_ms >> 8));
        history.append(typed);
        holds.push_back(0);
        if (typed == "\b") {
            if (place > word_place) {
                place--;
                right.pop_back();
            }
            return;
        }
        bool correct = typed.size() == 1 && typed.front() == target[place % target.size()];
        inserts++;
        errors += !correct;
        right.push_back(correct);
        place++;
        if (typed == " ") {
            bool whole = true;
            for (bool one : right) whole = whole && one;
            committed += whole ? place - word_place : 0;
            right.clear();
            word_place = place;
            word++;
        }
    }

    // The tick's message; empty where nothing came since the last one.
    std::string tick() {
        if (n == ticked) return {};
        ticked = n;
        uint32_t active = 0;
        while (active < right.size() && right[active]) active++;
        double speed = time_ms ? 12'000.0 / time_ms : 0;
        std::string out = "\x88\xa1t\xa4tick\xa1n";
        number(out, n);
        out.append("\xa1r\xc4\x40").append(64, 'r');  // a receipt's place: making one is not asked of these servers
        real(out, "\xa3wpm", speed * (committed + active));
        real(out, "\xa3raw", speed * place);
        real(out, "\xa3" "acc", inserts ? 100.0 * (inserts - errors) / inserts : 100);
        out.append("\xa3pos\x92");
        number(out, word);
        number(out, place - word_place);
        out.append("\xa3" "err");
        number(out, errors);
        return out;
    }

private:
    static void number(std::string &out, uint32_t value) {
        out.push_back('\xcd');
        out.push_back(static_cast<char>(value >> 8));
        out.push_back(static_cast<char>(value));
    }
    static void real(std::string &out, const char *name, double value) {
        uint64_t bits = std::bit_cast<uint64_t>(value);
        out.append(name).push_back('\xcb');
        for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(bits >> shift));
    }
};
