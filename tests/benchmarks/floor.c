/*
 * floor - a minimal server for wsfan, which checks nothing: an upper bound for real servers.
 *
 * It reads chat.v1 messages from WebSocket frames, assigns each a seq and a time, stores the messages of one turn with
 * one commit of SQLite (write-ahead log, synchronous=FULL, as bqserver does) or not at all, and writes the turn's
 * frames to every client with one send each. It parses no JSON, authenticates nobody, does not handle slow clients, and
 * has one room. A real server on the same machine can only be slower.
 *
 *   cc -O2 -o floor floor.c                          ./floor PORT
 *   cc -O2 -DSQLITE -o floor floor.c -lsqlite3       ./floor PORT FILE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef SQLITE
#include <sqlite3.h>
static sqlite3 *db;
static sqlite3_stmt *insert;
#endif

#define MAX_CLIENTS 20000
#define MAX_MESSAGE_BYTES (1 << 17)

struct client {
    int fd, joined;
    size_t size;
    char data[MAX_MESSAGE_BYTES];
};

static struct client *clients[MAX_CLIENTS];
static int count;
static long seq;
static char turn[1 << 22]; /* the frames of this turn */
static size_t turn_size;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

#ifdef SQLITE
static void done(int code)
{
    if (code == SQLITE_OK || code == SQLITE_DONE) return;
    fprintf(stderr, "floor: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void open_log(const char *path)
{
    done(sqlite3_open(path, &db));
    done(sqlite3_exec(db,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                      "CREATE TABLE entry (id INTEGER PRIMARY KEY, user TEXT, cid TEXT, body BLOB);"
                      "CREATE UNIQUE INDEX once ON entry (user, cid);"
                      /* preallocate the log: syncing a growing file takes longer */
                      "CREATE TABLE room (body BLOB); INSERT INTO room VALUES (zeroblob(4 << 20)); DROP TABLE room;"
                      "PRAGMA wal_checkpoint(PASSIVE)", 0, 0, 0));
    done(sqlite3_prepare_v2(db, "INSERT INTO entry VALUES (?, ?, ?, ?)", -1, &insert, 0));
}

static void store(const char *body, int size, const char *cid, int cid_size)
{
    if (!db) return;
    if (sqlite3_get_autocommit(db)) done(sqlite3_exec(db, "BEGIN IMMEDIATE", 0, 0, 0));
    done(sqlite3_bind_int64(insert, 1, seq));
    done(sqlite3_bind_text(insert, 2, "u0", 2, SQLITE_STATIC));
    done(sqlite3_bind_text(insert, 3, cid, cid_size, SQLITE_STATIC));
    done(sqlite3_bind_blob(insert, 4, body, size, SQLITE_STATIC));
    done(sqlite3_step(insert));
    done(sqlite3_reset(insert));
}

static void commit(void)
{
    if (db) done(sqlite3_exec(db, "COMMIT", 0, 0, 0));
}
#else
static void open_log(const char *path) { die(path); }
static void store(const char *body, int size, const char *cid, int cid_size) { (void)body, (void)size, (void)cid, (void)cid_size; }
static void commit(void) {}
#endif

static const char *field(const char *data, size_t size, const char *name)
{
    const char *found = memmem(data, size, name, strlen(name));
    if (!found) die("not a frame of wsfan's");
    return found + strlen(name);
}

static void append(const char *data, size_t size)
{
    const char *cid = field(data, size, "\"cid\":\""), *text = field(data, size, "\"text\":\"");
    int cid_size = (int)strcspn(cid, "\""), text_size = (int)(data + size - 2 - text);
    char body[MAX_MESSAGE_BYTES + 256];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seq++;
    int entry = snprintf(body, sizeof body,
                         "{\"type\":\"message\",\"entry\":{\"seq\":%ld,\"room\":\"lobby\",\"user\":\"u0\",\"text\":\"%.*s\","
                         "\"at\":%ld,\"cid\":\"%.*s\"},\"prev\":%ld}",
                         seq, text_size, text, now.tv_sec * 1000 + now.tv_nsec / 1000000, cid_size, cid, seq - 1);
    if (entry < 126 || turn_size + (size_t)entry + 4 > sizeof turn) die("a length that wsfan doesn't send");
    store(body, entry, cid, cid_size);
    char head[4] = {(char)0x81, 126, (char)(entry >> 8), (char)entry};
    memcpy(turn + turn_size, head, sizeof head);
    memcpy(turn + turn_size + sizeof head, body, (size_t)entry);
    turn_size += sizeof head + (size_t)entry;
}

static void leave(struct client *client)
{
    for (int i = 0; i < count; i++)
        if (clients[i] == client) clients[i] = clients[--count];
    close(client->fd);
    free(client);
}

static size_t join(struct client *client)
{
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* wsfan's key */
    const char *end = memmem(client->data, client->size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (send(client->fd, answer, sizeof answer - 1, 0) < 0) die("send");
    client->joined = 1;
    return (size_t)(end + 4 - client->data);
}

/* wsfan masks with zeroes, so no unmasking is needed. */
static void hear(struct client *client)
{
    ssize_t got = recv(client->fd, client->data + client->size, MAX_MESSAGE_BYTES - client->size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { leave(client); return; }
    client->size += (size_t)got;
    size_t used = client->joined ? 0 : join(client);
    while (client->joined && client->size - used >= 8) {
        const uint8_t *frame = (const uint8_t *)client->data + used;
        size_t size = frame[1] & 127, head = 6;
        if (size == 126) { size = (size_t)frame[2] << 8 | frame[3]; head = 8; }
        if (client->size - used < head + size) break;
        if (frame[0] == 0x81) append((const char *)frame + head, size);
        used += head + size;
    }
    memmove(client->data, client->data + used, client->size -= used);
}

static void tell_all(void)
{
    commit();
    for (int i = 0; i < count; i++)
        if (clients[i]->joined && send(clients[i]->fd, turn, turn_size, 0) != (ssize_t)turn_size)
            die("a client that doesn't read");
    turn_size = 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) die("floor PORT [FILE]");
    if (argc > 2) open_log(argv[2]);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0), on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)atoi(argv[1])),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) die("bind");
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) { hear(events[i].data.ptr); continue; }
            struct client *client = calloc(1, sizeof *client);
            if (!client || count == MAX_CLIENTS) die("too many clients");
            client->fd = accept4(listener, 0, 0, SOCK_NONBLOCK);
            if (client->fd < 0) die("accept");
            setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            clients[count++] = event.data.ptr = client;
            epoll_ctl(poll, EPOLL_CTL_ADD, client->fd, &event);
        }
        if (turn_size) tell_all();
    }
}
