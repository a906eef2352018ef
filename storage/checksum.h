/* CRC-32C (Castagnoli): with the processor's instruction where it has one, with tables elsewhere.
 *
 * All functions take the checksum of what came before (0 at the beginning), so that a checksum can be taken of
 * several pieces. They agree with each other, and with RFC 3720, appendix B.4.
 */
#ifndef HAYPILE_CHECKSUM_H
#define HAYPILE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The journal is little-endian and is written from memory as it is: this processor would need a conversion."
#endif

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

typedef uint32_t (*crc32c_function)(uint32_t, const unsigned char *, size_t);

static uint32_t crc32c_tables[8][256];
static uint8_t crc32c_index_by_top[256]; /* which entry of the first table has these eight highest bits */

static void crc32c_fill_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? CRC32C_POLYNOMIAL : 0);
        crc32c_tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        crc32c_index_by_top[crc32c_tables[0][byte] >> 24] = (uint8_t)byte;
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int table = 1; table < 8; table++) {
            uint32_t crc = crc32c_tables[table - 1][byte];
            crc32c_tables[table][byte] = (crc >> 8) ^ crc32c_tables[0][crc & 0xff];
        }
}

static uint32_t crc32c_portable(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= crc;
        crc = crc32c_tables[7][word & 0xff] ^ crc32c_tables[6][(word >> 8) & 0xff] ^
              crc32c_tables[5][(word >> 16) & 0xff] ^ crc32c_tables[4][(word >> 24) & 0xff] ^
              crc32c_tables[3][(word >> 32) & 0xff] ^ crc32c_tables[2][(word >> 40) & 0xff] ^
              crc32c_tables[1][(word >> 48) & 0xff] ^ crc32c_tables[0][word >> 56];
    }
    for (; size > 0; data++, size--)
        crc = (crc >> 8) ^ crc32c_tables[0][(crc ^ *data) & 0xff];
    return ~crc;
}

/* The checksum of what came before, when that of everything is known: each step of a CRC can be taken back. */
static uint32_t crc32c_backwards(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    while (size-- > 0) {
        uint32_t index = crc32c_index_by_top[crc >> 24];
        crc = (crc ^ crc32c_tables[0][index]) << 8 | (index ^ data[size]);
    }
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2")))
static uint32_t crc32c_hardware(uint32_t crc, const unsigned char *data, size_t size) {
    uint64_t state = (uint32_t)~crc;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        state = __builtin_ia32_crc32di(state, word);
    }
    for (; size > 0; data++, size--)
        state = __builtin_ia32_crc32qi((uint32_t)state, *data);
    return ~(uint32_t)state;
}

static int crc32c_has_hardware(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>
#define CRC32C_HWCAP_CRC32 (1 << 7)

__attribute__((target("+crc")))
static uint32_t crc32c_hardware(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        __asm__("crc32cx %w[crc], %w[crc], %x[word]" : [crc] "+r"(crc) : [word] "r"(word));
    }
    for (; size > 0; data++, size--)
        __asm__("crc32cb %w[crc], %w[crc], %w[byte]" : [crc] "+r"(crc) : [byte] "r"((uint32_t)*data));
    return ~crc;
}

static int crc32c_has_hardware(void) {
    return (getauxval(AT_HWCAP) & CRC32C_HWCAP_CRC32) != 0;
}

#else

#define crc32c_hardware crc32c_portable

static int crc32c_has_hardware(void) {
    return 0;
}

#endif
#endif
