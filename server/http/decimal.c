#include "server/http/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 17 /* enough for every double */

/* d1.d2d3... * 10^exponent, d1 not 0 */
struct decimal {
    bool negative;
    int n; /* digits, without trailing zeros, at least 1 */
    int exponent;
    char digits[DIGITS + 1];
};

/* Writes d as Python's repr would, except that whole numbers have no ".0"; returns the length. */
static size_t place(const struct decimal *d, char out[DECIMAL_MAX])
{
    char *p = out;
    if (d->negative) {
        *p++ = '-';
    }
    int e = d->exponent;
    if (e < -4 || e >= 16) {
        *p++ = d->digits[0];
        if (d->n > 1) {
            *p++ = '.';
            memcpy(p, d->digits + 1, (size_t)d->n - 1);
            p += d->n - 1;
        }
        p += snprintf(p, 8, "e%c%02d", e < 0 ? '-' : '+', abs(e));
        return (size_t)(p - out);
    }
    if (e < 0) {
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)(-e - 1));
        p += -e - 1;
        memcpy(p, d->digits, (size_t)d->n);
        return (size_t)(p + d->n - out);
    }
    int whole = d->n < e + 1 ? d->n : e + 1; /* digits before the point */
    memcpy(p, d->digits, (size_t)whole);
    p += whole;
    for (int i = whole; i <= e; i++) {
        *p++ = '0';
    }
    if (d->n > whole) {
        *p++ = '.';
        memcpy(p, d->digits + whole, (size_t)(d->n - whole));
        p += d->n - whole;
    }
    return (size_t)(p - out);
}

static void trim(struct decimal *d)
{
    while (d->n > 1 && d->digits[d->n - 1] == '0') {
        d->n--;
    }
}

/* Takes "-d.ddde+XX", what printf's %e writes, apart. The byte after the first digit is the
 * locale's decimal point, whatever it is. */
static void take_apart(const char *printed, int precision, struct decimal *d)
{
    d->negative = *printed == '-';
    printed += d->negative;
    d->n = precision;
    d->digits[0] = printed[0];
    if (precision > 1) {
        memcpy(d->digits + 1, printed + 2, (size_t)precision - 1);
    }
    d->exponent = (int)strtol(strchr(printed, 'e') + 1, NULL, 10);
    trim(d);
}

/* Numbers of up to 6 (double: 15) digits survive the way to binary and back, so nothing shorter
 * needs to be tried, except among the subnormal ones, which have fewer bits. */
static void shortest_float(float value, struct decimal *d)
{
    char printed[32];
    for (int precision = isnormal(value) ? 6 : 1; precision <= 9; precision++) {
        (void)snprintf(printed, sizeof printed, "%.*e", precision - 1, (double)value);
        if (strtof(printed, NULL) == value) {
            take_apart(printed, precision, d);
            return;
        }
    }
}

static void shortest_double(double value, struct decimal *d)
{
    char printed[40];
    for (int precision = isnormal(value) ? 15 : 1; precision <= DIGITS; precision++) {
        (void)snprintf(printed, sizeof printed, "%.*e", precision - 1, value);
        if (strtod(printed, NULL) == value) {
            take_apart(printed, precision, d);
            return;
        }
    }
}

/* The digits of a whole number over 0, of DIGITS at most; the exponent and trimming are left. */
static void put_digits(long long whole, bool negative, struct decimal *d)
{
    char digits[24];
    int n = 0;
    for (long long rest = whole; rest; rest /= 10) {
        digits[n++] = (char)('0' + rest % 10);
    }
    d->negative = negative;
    d->n = n;
    for (int i = 0; i < n; i++) {
        d->digits[i] = digits[n - 1 - i];
    }
}

static const double ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                             1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* The same as shortest_float without printf and strtof, ten times faster, for magnitudes where the
 * powers of ten are exact doubles. A double carries 29 bits more than a float, so a decimal put
 * together in double arithmetic rounds to the right float unless it lies within a few double ulps
 * of the middle between two floats. There (false) the caller takes the slow way. */
static bool quick_float(float value, struct decimal *d)
{
    double magnitude = fabs((double)value);
    if (!(magnitude >= 1e-4 && magnitude < 1e9)) {
        return false;
    }
    int exponent = 0; /* of the first digit */
    if (magnitude >= 1) {
        while (magnitude >= ten[exponent + 1]) {
            exponent++;
        }
    } else {
        do {
            exponent--;
        } while (magnitude * ten[-exponent] < 1);
    }
    float target = fabsf(value);
    for (int precision = 6; precision <= 9; precision++) {
        int shift = precision - 1 - exponent; /* -3 .. 12 */
        double scaled = shift < 0 ? magnitude / ten[-shift] : magnitude * ten[shift];
        long long whole = llrint(scaled);
        double candidate = shift < 0 ? (double)whole * ten[-shift] : (double)whole / ten[shift];
        bool below = (float)(candidate * (1 - 0x1p-50)) == target;
        bool above = (float)(candidate * (1 + 0x1p-50)) == target;
        if (below != above) {
            return false;
        }
        if (below) {
            put_digits(whole, value < 0, d);
            d->exponent = exponent + d->n - precision; /* 9.999996 may have become 10.0000 */
            trim(d);
            return true;
        }
    }
    return false;
}

/* -0.0 keeps its sign, which "-0" would lose in readers that take it for an integer. */
static size_t place_zero(bool negative, char out[DECIMAL_MAX])
{
    size_t n = negative ? 4 : 1;
    memcpy(out, negative ? "-0.0" : "0", n);
    return n;
}

size_t decimal_float(float value, char out[DECIMAL_MAX])
{
    if (value == 0) {
        return place_zero(signbit(value), out);
    }
    struct decimal d;
    if (!quick_float(value, &d)) {
        shortest_float(value, &d);
    }
    return place(&d, out);
}

size_t decimal_double(double value, char out[DECIMAL_MAX])
{
    if (value == 0) {
        return place_zero(signbit(value), out);
    }
    struct decimal d;
    shortest_double(value, &d);
    return place(&d, out);
}

/* A float's 24 bits times a power of ten of 19 bits (and twos) are exact in a double, so that its
 * nearest whole number is the float's nearest decimal; below 1e15 that is the shortest one too.
 * False for what is no float, or larger: the caller takes the slow way. */
static bool quick_rounded(double value, int decimals, char out[DECIMAL_MAX], size_t *n)
{
    double magnitude = fabs(value);
    if (decimals > 8 || !(magnitude < 1e15 / ten[decimals]) || (double)(float)value != value) {
        return false;
    }
    long long whole = llrint(magnitude * ten[decimals]);
    if (whole == 0) {
        *n = place_zero(signbit(value), out);
        return true;
    }
    struct decimal d;
    put_digits(whole, value < 0, &d);
    d.exponent = d.n - 1 - decimals;
    trim(&d);
    *n = place(&d, out);
    return true;
}

size_t decimal_rounded(double value, int decimals, char out[DECIMAL_MAX])
{
    size_t n;
    if (!quick_rounded(value, decimals, out, &n)) {
        char printed[DECIMAL_PLACES + 330]; /* the largest double has 309 digits before the point */
        (void)snprintf(printed, sizeof printed, "%.*f", decimals, value);
        n = decimal_double(strtod(printed, NULL), out);
    }
    return n;
}

size_t decimal_integer(long long value, char out[DECIMAL_MAX])
{
    char digits[24];
    size_t n = 0, length = 0;
    unsigned long long rest = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    do {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0) {
        out[length++] = '-';
    }
    while (n) {
        out[length++] = digits[--n];
    }
    return length;
}
