/*
 * A PKCS#11 module that stands in front of another one: it forwards every function of CK_FUNCTION_LIST (PKCS #11 base
 * 2.40), counts and writes down what the module signed, and misbehaves where a test has said so.
 *
 * For tests only.  tests/shim/__init__.py says how it is used; what follows is what the two agree on.
 *
 * Environment
 *   PRIVYSEAL_SHIM_MODULE   the real module
 *   PRIVYSEAL_SHIM_STATE    a directory, shared by all processes that count as one token, with these files:
 *     control    rules, one a line: NAME FROM TO ACTION ARGUMENT; absent or empty: no faults
 *     counters   calls of each NAME in all processes: an array of 64-bit integers, in the order of FUNCTIONS, LAST
 *     sent       a line before each C_Sign or C_SignFinal is handed to the module
 *     journal    the same line after the module has signed, with the signature: one line a signature
 *   PRIVYSEAL_SHIM_DEVICE   a Unix socket, optional.  Then the token is behind it as an HSM is behind a network: C_Initialize
 *                           connects, each function sends an octet and waits for one, and once that fails every function
 *                           answers CKR_DEVICE_ERROR until the process is another.  tests/shim/device.py answers there, and
 *                           can be killed, stopped, continued and started again.
 *
 * A line of `sent` and `journal`: process id, mechanism (hexadecimal), the label of the key ("-" without one), SHA-256
 * of the data ("-" after C_SignUpdate), and in `journal` SHA-256 of the signature.  Both are opened with O_APPEND and
 * written with one write().  A process killed between the two has left its signature in `sent` only.
 *
 * NAME is a function's, or C_Sign/users, C_Sign/canary, C_Sign/mac: C_Sign with a key that is not the server's own,
 * with its canary key, with the key of its row MACs.  A C_Sign that only asks for the length is not counted.
 *
 * ACTION, for calls FROM to TO of NAME (counted from 1 since the directory was made, over all processes)
 *   return CODE   answer CODE, do not forward
 *   after CODE    forward, then answer CODE instead
 *   delay MS      wait, then forward
 *   hang 0        wait until the control file is changed, then forward
 *   kill 0        SIGKILL this process before forwarding;  kill-after 0: after it
 *   flip 0        forward a signing function, then alter one bit of the value
 *   short 0       forward a signing function, then give one octet too few
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;
typedef unsigned char octet;

#define CKR_GENERAL_ERROR 0x05UL
#define CKR_DEVICE_ERROR 0x30UL
#define CKA_LABEL 0x03UL

struct attribute {
    word type;
    void *value;
    word length;
};
struct mechanism {
    word type;
    void *parameter;
    word length;
};

/* X(name, parameters, arguments), in the order of CK_FUNCTION_LIST; C_GetFunctionList and the signing functions, which
 * are written out below, too. */
#define FUNCTIONS(X)                                                                                                   \
    X(C_Initialize, (void *a), (a))                                                                                    \
    X(C_Finalize, (void *a), (a))                                                                                      \
    X(C_GetInfo, (void *a), (a))                                                                                       \
    X(C_GetFunctionList, (void *a), (a))                                                                               \
    X(C_GetSlotList, (octet a, word *b, word *c), (a, b, c))                                                           \
    X(C_GetSlotInfo, (word a, void *b), (a, b))                                                                        \
    X(C_GetTokenInfo, (word a, void *b), (a, b))                                                                       \
    X(C_GetMechanismList, (word a, word *b, word *c), (a, b, c))                                                       \
    X(C_GetMechanismInfo, (word a, word b, void *c), (a, b, c))                                                        \
    X(C_InitToken, (word a, octet *b, word c, octet *d), (a, b, c, d))                                                 \
    X(C_InitPIN, (word a, octet *b, word c), (a, b, c))                                                                \
    X(C_SetPIN, (word a, octet *b, word c, octet *d, word e), (a, b, c, d, e))                                         \
    X(C_OpenSession, (word a, word b, void *c, void *d, word *e), (a, b, c, d, e))                                     \
    X(C_CloseSession, (word a), (a))                                                                                   \
    X(C_CloseAllSessions, (word a), (a))                                                                               \
    X(C_GetSessionInfo, (word a, void *b), (a, b))                                                                     \
    X(C_GetOperationState, (word a, octet *b, word *c), (a, b, c))                                                     \
    X(C_SetOperationState, (word a, octet *b, word c, word d, word e), (a, b, c, d, e))                                \
    X(C_Login, (word a, word b, octet *c, word d), (a, b, c, d))                                                       \
    X(C_Logout, (word a), (a))                                                                                         \
    X(C_CreateObject, (word a, void *b, word c, word *d), (a, b, c, d))                                                \
    X(C_CopyObject, (word a, word b, void *c, word d, word *e), (a, b, c, d, e))                                       \
    X(C_DestroyObject, (word a, word b), (a, b))                                                                       \
    X(C_GetObjectSize, (word a, word b, word *c), (a, b, c))                                                           \
    X(C_GetAttributeValue, (word a, word b, void *c, word d), (a, b, c, d))                                            \
    X(C_SetAttributeValue, (word a, word b, void *c, word d), (a, b, c, d))                                            \
    X(C_FindObjectsInit, (word a, void *b, word c), (a, b, c))                                                         \
    X(C_FindObjects, (word a, word *b, word c, word *d), (a, b, c, d))                                                 \
    X(C_FindObjectsFinal, (word a), (a))                                                                               \
    X(C_EncryptInit, (word a, void *b, word c), (a, b, c))                                                             \
    X(C_Encrypt, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                       \
    X(C_EncryptUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                 \
    X(C_EncryptFinal, (word a, octet *b, word *c), (a, b, c))                                                          \
    X(C_DecryptInit, (word a, void *b, word c), (a, b, c))                                                             \
    X(C_Decrypt, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                       \
    X(C_DecryptUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                 \
    X(C_DecryptFinal, (word a, octet *b, word *c), (a, b, c))                                                          \
    X(C_DigestInit, (word a, void *b), (a, b))                                                                         \
    X(C_Digest, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                        \
    X(C_DigestUpdate, (word a, octet *b, word c), (a, b, c))                                                           \
    X(C_DigestKey, (word a, word b), (a, b))                                                                           \
    X(C_DigestFinal, (word a, octet *b, word *c), (a, b, c))                                                           \
    X(C_SignInit, (word a, void *b, word c), (a, b, c))                                                                \
    X(C_Sign, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                          \
    X(C_SignUpdate, (word a, octet *b, word c), (a, b, c))                                                             \
    X(C_SignFinal, (word a, octet *b, word *c), (a, b, c))                                                             \
    X(C_SignRecoverInit, (word a, void *b, word c), (a, b, c))                                                         \
    X(C_SignRecover, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                   \
    X(C_VerifyInit, (word a, void *b, word c), (a, b, c))                                                              \
    X(C_Verify, (word a, octet *b, word c, octet *d, word e), (a, b, c, d, e))                                         \
    X(C_VerifyUpdate, (word a, octet *b, word c), (a, b, c))                                                           \
    X(C_VerifyFinal, (word a, octet *b, word c), (a, b, c))                                                            \
    X(C_VerifyRecoverInit, (word a, void *b, word c), (a, b, c))                                                       \
    X(C_VerifyRecover, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                                 \
    X(C_DigestEncryptUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                           \
    X(C_DecryptDigestUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                           \
    X(C_SignEncryptUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                             \
    X(C_DecryptVerifyUpdate, (word a, octet *b, word c, octet *d, word *e), (a, b, c, d, e))                           \
    X(C_GenerateKey, (word a, void *b, void *c, word d, word *e), (a, b, c, d, e))                                     \
    X(C_GenerateKeyPair, (word a, void *b, void *c, word d, void *e, word f, word *g, word *h),                        \
      (a, b, c, d, e, f, g, h))                                                                                        \
    X(C_WrapKey, (word a, void *b, word c, word d, octet *e, word *f), (a, b, c, d, e, f))                             \
    X(C_UnwrapKey, (word a, void *b, word c, octet *d, word e, void *f, word g, word *h), (a, b, c, d, e, f, g, h))    \
    X(C_DeriveKey, (word a, void *b, word c, void *d, word e, word *f), (a, b, c, d, e, f))                            \
    X(C_SeedRandom, (word a, octet *b, word c), (a, b, c))                                                             \
    X(C_GenerateRandom, (word a, octet *b, word c), (a, b, c))                                                         \
    X(C_GetFunctionStatus, (word a), (a))                                                                              \
    X(C_CancelFunction, (word a), (a))                                                                                 \
    X(C_WaitForSlotEvent, (word a, word *b, void *c), (a, b, c))

enum counted {
#define X(name, parameters, arguments) N_##name,
    FUNCTIONS(X)
#undef X
    N_USERS,
    N_CANARY,
    N_MAC,
    N_ALL
};

static const char *const NAMES[N_ALL] = {
#define X(name, parameters, arguments) #name,
    FUNCTIONS(X)
#undef X
    "C_Sign/users",
    "C_Sign/canary",
    "C_Sign/mac"};

struct functions {
    octet version[2];
#define X(name, parameters, arguments) word(*name) parameters;
    FUNCTIONS(X)
#undef X
};

static struct functions *real;
static struct functions ours;
static uint64_t *counters;
static int sent_file = -1, journal_file = -1;
static char control_path[4096];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* SHA-256 (FIPS 180-4). */

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turned(uint32_t value, int by) { return value >> by | value << (32 - by); }

static void block_in(uint32_t state[8], const octet *block) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[i - 7] + (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t first = v[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + ROUND[i] + w[i];
        uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + second;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

static void sha256_hex(const octet *data, word length, char text[65]) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    octet last[128] = {0};
    word left = length % 64, padded = left < 56 ? 64 : 128;
    for (word at = 0; at + 64 <= length; at += 64)
        block_in(state, data + at);
    memcpy(last, data + length - left, left);
    last[left] = 0x80;
    for (int i = 0; i < 8; i++)
        last[padded - 1 - i] = (octet)((uint64_t)length * 8 >> 8 * i);
    for (word at = 0; at < padded; at += 64)
        block_in(state, last + at);
    for (int i = 0; i < 8; i++)
        sprintf(text + 8 * i, "%08x", state[i]);
}

/* What each session is about to sign with, since C_SignInit. */

struct signing {
    word session, mechanism;
    char label[65];
    int kind; /* N_USERS, N_CANARY or N_MAC */
};

static struct signing sessions[256];
static unsigned newest;

static struct signing *slot_of(word session) {
    for (unsigned i = 0; i < 256; i++)
        if (sessions[i].session == session)
            return &sessions[i];
    return NULL;
}

static void remember(word session, const struct mechanism *mechanism, word key) {
    struct signing found = {.session = session, .mechanism = mechanism->type, .label = "-", .kind = N_USERS};
    octet label[64];
    struct attribute wanted = {CKA_LABEL, label, sizeof label};
    if (real->C_GetAttributeValue(session, key, &wanted, 1) == 0 && wanted.length && wanted.length <= sizeof label) {
        for (word i = 0; i < wanted.length; i++)
            found.label[i] = label[i] > 0x20 && label[i] < 0x7f ? (char)label[i] : '_';
        found.label[wanted.length] = 0;
    }
    if (!strncmp(found.label, "privyseal-canary", 16) || !strncmp(found.label, "privyseal-checkpoint", 20))
        found.kind = N_CANARY;
    else if (!strncmp(found.label, "privyseal-row-mac", 17))
        found.kind = N_MAC;
    pthread_mutex_lock(&lock);
    struct signing *slot = slot_of(session);
    *(slot ? slot : &sessions[newest++ % 256]) = found;
    pthread_mutex_unlock(&lock);
}

static struct signing recall(word session) {
    struct signing found = {.session = session, .label = "-", .kind = N_USERS};
    pthread_mutex_lock(&lock);
    struct signing *slot = slot_of(session);
    if (slot)
        found = *slot;
    pthread_mutex_unlock(&lock);
    return found;
}

static void write_down(int file, const struct signing *with, const char *data, const char *signature) {
    char line[320];
    int length = snprintf(line, sizeof line, "%d 0x%lx %s %s%s%s\n", (int)getpid(), with->mechanism, with->label, data,
                          signature ? " " : "", signature ? signature : "");
    if (write(file, line, (size_t)length) != length)
        abort(); /* an oracle that has lost count is worse than a dead module */
}

/* Faults. */

struct fault {
    char action[16];
    unsigned long argument;
};

static int fault_for(enum counted name, uint64_t number, struct fault *found) {
    char line[256], called[32];
    unsigned long long from, to;
    struct fault rule;
    int hit = 0;
    FILE *control = fopen(control_path, "re");
    if (!control)
        return 0;
    while (!hit && fgets(line, sizeof line, control))
        if (sscanf(line, "%31s %llu %llu %15s %lu", called, &from, &to, rule.action, &rule.argument) == 5)
            hit = !strcmp(called, NAMES[name]) && from <= number && number <= to;
    fclose(control);
    if (hit)
        *found = rule;
    return hit;
}

static void sleep_ms(unsigned long ms) {
    struct timespec wait = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

static void hang(void) {
    struct stat before, now;
    if (stat(control_path, &before))
        return;
    do
        sleep_ms(20);
    while (!stat(control_path, &now) && now.st_ino == before.st_ino);
}

/* The device at the other end. */

static const char *device_path;
static int device = -1;
static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;

static int device_connect(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, device_path, sizeof address.sun_path - 1);
    device = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return device >= 0 && !connect(device, (struct sockaddr *)&address, sizeof address);
}

static int device_answers(enum counted name) {
    octet one = 1;
    int good;
    if (!device_path || name == N_C_GetFunctionList || name == N_C_Finalize || name >= N_USERS)
        return 1;
    pthread_mutex_lock(&device_lock);
    good = (name != N_C_Initialize || device_connect()) && send(device, &one, 1, MSG_NOSIGNAL) == 1 &&
           recv(device, &one, 1, 0) == 1;
    if (!good && device >= 0) {
        close(device);
        device = -1;
    }
    pthread_mutex_unlock(&device_lock);
    return good;
}

/* Counts the call.  Returns 1 where it is to be answered with *code and not forwarded. */
static int before(enum counted name, struct fault *fault, word *code) {
    uint64_t number = __atomic_add_fetch(&counters[name], 1, __ATOMIC_SEQ_CST);
    if (!device_answers(name)) {
        *code = CKR_DEVICE_ERROR;
        return 1;
    }
    if (fault->action[0] || !fault_for(name, number, fault)) {
        return 0;
    }
    if (!strcmp(fault->action, "return")) {
        *code = fault->argument;
        return 1;
    }
    if (!strcmp(fault->action, "delay"))
        sleep_ms(fault->argument);
    else if (!strcmp(fault->action, "hang"))
        hang();
    else if (!strcmp(fault->action, "kill"))
        kill(getpid(), SIGKILL);
    return 0;
}

static word after(const struct fault *fault, word code, octet *value, word *length) {
    if (!strcmp(fault->action, "after"))
        return fault->argument;
    if (!strcmp(fault->action, "kill-after"))
        kill(getpid(), SIGKILL);
    if (code == 0 && value && *length) {
        if (!strcmp(fault->action, "flip"))
            value[*length / 2] ^= 1;
        else if (!strcmp(fault->action, "short"))
            *length -= 1;
    }
    return code;
}

/* A signature, made by C_Sign (with data) or C_SignFinal (without). */

static word sign(enum counted name, word session, octet *data, word data_length, octet *value, word *length) {
    struct signing with = recall(session);
    struct fault fault = {"", 0};
    char data_hash[65] = "-", value_hash[65];
    word code = 0;
    if (!value)
        return name == N_C_Sign ? real->C_Sign(session, data, data_length, value, length)
                                : real->C_SignFinal(session, value, length);
    if (before(name, &fault, &code) || (name == N_C_Sign && before((enum counted)with.kind, &fault, &code)))
        return code;
    if (name == N_C_Sign)
        sha256_hex(data, data_length, data_hash);
    write_down(sent_file, &with, data_hash, NULL);
    code = name == N_C_Sign ? real->C_Sign(session, data, data_length, value, length)
                            : real->C_SignFinal(session, value, length);
    if (code == 0) {
        sha256_hex(value, *length, value_hash);
        write_down(journal_file, &with, data_hash, value_hash);
    }
    return after(&fault, code, value, length);
}

/* The functions. */

#define X(name, parameters, arguments)                                                                                 \
    static word forward_##name parameters {                                                                            \
        struct fault fault = {"", 0};                                                                                  \
        word code = 0;                                                                                                 \
        if (before(N_##name, &fault, &code))                                                                           \
            return code;                                                                                               \
        code = real->name arguments;                                                                                   \
        return after(&fault, code, NULL, NULL);                                                                        \
    }
FUNCTIONS(X)
#undef X

static word own_SignInit(word session, void *mechanism, word key) {
    word code = forward_C_SignInit(session, mechanism, key);
    if (code == 0)
        remember(session, mechanism, key);
    return code;
}

static word own_Sign(word session, octet *data, word data_length, octet *value, word *length) {
    return sign(N_C_Sign, session, data, data_length, value, length);
}

static word own_SignFinal(word session, octet *value, word *length) {
    return sign(N_C_SignFinal, session, NULL, 0, value, length);
}

static int opened(const char *directory, const char *name, int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return open(path, flags | O_CREAT | O_CLOEXEC, 0600);
}

static word load(void) {
    const char *module = getenv("PRIVYSEAL_SHIM_MODULE"), *state = getenv("PRIVYSEAL_SHIM_STATE");
    word (*list)(struct functions **);
    void *library = module && state ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library || !(*(void **)&list = dlsym(library, "C_GetFunctionList")) || list(&real))
        return CKR_GENERAL_ERROR;
    device_path = getenv("PRIVYSEAL_SHIM_DEVICE");
    snprintf(control_path, sizeof control_path, "%s/control", state);
    sent_file = opened(state, "sent", O_WRONLY | O_APPEND);
    journal_file = opened(state, "journal", O_WRONLY | O_APPEND);
    int file = opened(state, "counters", O_RDWR);
    if (sent_file < 0 || journal_file < 0 || file < 0 || ftruncate(file, sizeof *counters * N_ALL))
        return CKR_GENERAL_ERROR;
    void *memory = mmap(NULL, sizeof *counters * N_ALL, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED)
        return CKR_GENERAL_ERROR;
    counters = memory;
    memcpy(ours.version, real->version, sizeof ours.version);
#define X(name, parameters, arguments) ours.name = forward_##name;
    FUNCTIONS(X)
#undef X
    ours.C_SignInit = own_SignInit;
    ours.C_Sign = own_Sign;
    ours.C_SignFinal = own_SignFinal;
    return 0;
}

__attribute__((visibility("default"))) word C_GetFunctionList(struct functions **list) {
    word code = 0;
    pthread_mutex_lock(&lock);
    if (!counters)
        code = load();
    pthread_mutex_unlock(&lock);
    ours.C_GetFunctionList = (word(*)(void *))C_GetFunctionList;
    *list = &ours;
    return code;
}
