/** What callers may take: the figures, and why. Together they bound what a relayer holds for others (docs/operating/security.md). */

import type { RelayerConfig } from '../../config.ts'

const KIB = 1024
const MIB = 1024 * KIB

/**
 * What a body costs while it is worked on, in its own bytes: its chunks, its text, and what is parsed from it. Bodies that are mostly
 * empty values cost more, and pay for it (`BYTES_A_VALUE`).
 */
export const BODY_COST = 3
/** What a parsed value of no length costs: an object, or a place in a list. */
export const BYTES_A_VALUE = 64
/** From this size a body is large: few of one caller at the same time. */
export const LARGE_BYTES = MIB

/** The figures of one relayer. Times are shorter in tests. */
export function limitsOf({ http }: Pick<RelayerConfig, 'http'>) {
  // Of a small body most is what is parsed of it.
  const largest = Math.max(http.maxBodyBytes, 16 * MIB)
  return {
    /**
     * Requests of one caller under way, long polls too: a sidecar has ten at most, and without tokens a proxy's address has those of all
     * sidecars behind it.
     */
    requestsOfOne: 256,
    /** After which time what is more is refused. */
    refusalMs: 3_000,
    /** One after the other, so far apart, so that those of one caller neither leave nor come back together; and after which time at most. */
    refusals: { gapMs: 20, mostMs: 20_000 },
    /** The same of bodies that have waited (`bodies.waitMs`): with that less than clients wait. */
    refusalsOfBodies: { gapMs: 20, mostMs: 4_000 },
    /**
     * Refusals of a known caller that asked for what is not its own (403): so many at once and in a second. Those that are more wait, so that
     * to ask again and again costs others little.
     */
    forbiddenOfOne: { burst: 200, perSecond: 20, most: 10_000, waitSeconds: 5 },
    bodies: {
      /** One largest body, or many small ones. */
      ofOne: BODY_COST * largest,
      /** Five callers at their limits, and a largest body more. */
      total: 16 * largest,
      /** Sidecars leave an operator room for its request. */
      ofSidecars: 12 * largest,
      /**
       * Of one caller in a second, and at once before that counts: a sidecar of 20,000 validators that posts all of them every 2 s sends
       * 3.3 MB in a second, and the posts of all of 50,000, some 16 MB, come within two. What is read is collected as garbage, 64 MB at a
       * time, and each time others wait some 20 ms: less than a hundredth of the time, so.
       */
      rate: { bytesASecond: largest / 2, atOnce: largest / 4 },
      /**
       * Of a stranger: what charon posts of a thousand validators is 0.4 MB, once from each node, and nothing of it is known before it is read
       * and looked at.
       */
      rateOfStrangers: { bytesASecond: largest / 16, atOnce: largest / 2 },
      largeOfOne: http.maxLargeBodies,
      /** How long large bodies wait for those of the same caller. */
      largeWaitMs: 1_000,
      /** Bodies of one caller that wait, unread, which costs less than to refuse them; and for how long: existing clients give up after 10 s. */
      waiting: 256,
      waitMs: 5_000,
    },
    /** Who sends or takes less than this is cut off: clients that give up after 10 s are far above it. */
    upload: { everyMs: 5_000, leastBytes: 5 * 32 * KIB },
    /**
     * A stranger's body that has not come within this time gives up its room to another stranger who waits for it: less time than that one
     * waits. What charon posts of a thousand validators is there in one second at 4 Mbit/s.
     */
    uploadOfStrangers: { afterMs: 4_000, everyMs: 500 },
    answer: { everyMs: 10_000, leastBytes: 64 * KIB },
    /** Bytes of answers that readers have not taken, each kept once however many read it. */
    answers: { ofOne: 128 * MIB, total: 256 * MIB },
    /**
     * Connections of one address that are read whoever comes meanwhile; those of a proxy that opens more wait until nobody comes, so many of
     * all addresses: as many as are read within a second or two.
     */
    arrivals: { burst: 10, perSecond: 50, most: 10_000, waiting: 1000 },
    /** Of strangers: those who have shown no token yet. */
    connections: { total: 1000, strangers: 500 },
  }
}
export type Limits = ReturnType<typeof limitsOf>
