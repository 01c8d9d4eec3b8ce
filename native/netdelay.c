// A link with latency between two network namespaces, for kernels without
// sch_netem: one TUN device in each namespace, packets cross after a fixed delay.
// Rate is not its job: put a tbf qdisc on the devices (scripts/bench-link.sh does).
//   netdelay NS_A NS_B DELAY_US     device name "lm0" in both namespaces
// One reader and one writer thread per direction around a ring of packets.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { RING = 8192, MTU = 2048, TICK = 1000000 };
struct packet { struct timespec due; int len; char data[MTU]; };
struct pipe { int in, out; long delay_ns; sem_t ready, space; struct packet *ring; };

static int open_tun(const char *ns) {
  char path[128];
  snprintf(path, sizeof path, "/run/netns/%s", ns);
  int n = open(path, O_RDONLY);
  if (n < 0 || setns(n, CLONE_NEWNET)) { perror(path); exit(1); }
  close(n);
  int fd = open("/dev/net/tun", O_RDWR);
  struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(ifr.ifr_name, "lm0");
  if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr)) { perror("tun"); exit(1); }
  return fd;
}
static void *reader(void *arg) {
  struct pipe *p = arg;
  for (unsigned i = 0;; i++) {
    struct packet *k = &p->ring[i % RING];
    sem_wait(&p->space);
    while ((k->len = read(p->in, k->data, MTU)) <= 0) if (errno != EINTR && errno != EIO) exit(1);
    clock_gettime(CLOCK_MONOTONIC, &k->due);
    // Round up to a tick, so that a burst costs one wake-up: 17,000 sleeps a
    // second (200 Mbit/s) took half a core, this takes a fifth of one.
    k->due.tv_nsec = (k->due.tv_nsec + p->delay_ns + TICK / 2) / TICK * TICK;
    while (k->due.tv_nsec >= 1000000000) { k->due.tv_nsec -= 1000000000; k->due.tv_sec++; }
    sem_post(&p->ready);
  }
}
static void *writer(void *arg) {
  struct pipe *p = arg;
  for (unsigned i = 0;; i++) {
    struct packet *k = &p->ring[i % RING];
    sem_wait(&p->ready);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &k->due, 0) == EINTR) {}
    if (write(p->out, k->data, k->len) < 0) {} // a device that is down drops
    sem_post(&p->space);
  }
}
int main(int argc, char **argv) {
  if (argc != 4) { fprintf(stderr, "usage: netdelay NS_A NS_B DELAY_US\n"); return 2; }
  int a = open_tun(argv[1]), b = open_tun(argv[2]);
  static struct pipe p[2];
  pthread_t t;
  for (int d = 0; d < 2; d++) {
    p[d] = (struct pipe){.in = d ? b : a, .out = d ? a : b, .delay_ns = atol(argv[3]) * 1000, .ring = malloc(RING * sizeof(struct packet))};
    sem_init(&p[d].ready, 0, 0); sem_init(&p[d].space, 0, RING);
    pthread_create(&t, 0, reader, &p[d]); pthread_create(&t, 0, writer, &p[d]);
  }
  pthread_join(t, 0);
}
