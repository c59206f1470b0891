/** One entry of a work list: a key share, what is wanted of it, and how far that has come. */

import type { KeyShare } from '../keystores/keystore.ts'
import type { KindCounts } from '../metrics.ts'
import type { Wanted } from '../policy/wanted.ts'

/** Signatures for what is wanted, lower-case hex. */
export interface Signatures {
  readonly exit: string
  readonly deposit?: string
}

/**
 * What the relayer's list says of a key share.
 *
 * - `unlisted`: nothing is wanted of it
 * - `wanted`: its signatures are
 * - `unverified`: the relayer has signatures of it that it could not verify yet
 * - `rejected`: the relayer names its share index as one that sent a wrong signature
 * - `settled`: the relayer has verified its signatures, or needs none any more
 */
export type Listing = 'unlisted' | 'wanted' | 'unverified' | 'rejected' | 'settled'

/**
 * How far this sidecar is with what is wanted.
 *
 * ```
 *   idle ── take ──> taken ── judged ──> judged ── bound ──> bound ── signed ──> signed ── posted, rejected ──> kept
 *   kept ── take ─────────────────────────────────────────────────────────────> signed
 * ```
 *
 * - `idle`: nobody is at it, and there are no signatures
 * - `taken`: a job has it, and the policy has yet to be asked
 * - `judged`: the policy allows it
 * - `bound`: its vault is in the journal, or it has no deposit: it may be signed
 * - `signed`: a job has it and its signatures: they may be posted
 * - `kept`: nobody is at it, and its signatures wait for their next post
 *
 * A job that ends in any other way leaves `idle` or, where there are signatures, `kept`. What the other list's job has posted is
 * `kept` here. When something else is wanted, or nothing, the entry is `idle` again, whatever a job is at.
 */
export type WorkState = 'idle' | 'taken' | 'judged' | 'bound' | 'signed' | 'kept'

/** An entry as everybody but the work list sees it. Times are milliseconds of one monotonic clock. */
export interface Entry {
  readonly keyShare: KeyShare
  /** Another object as soon as anything in it is another; undefined before it was ever listed. */
  readonly wanted: Wanted | undefined
  readonly listing: Listing
  readonly state: WorkState
  /** There in the states `signed` and `kept`, and in no other. */
  readonly signatures: Signatures | undefined
  /** When it was last judged or signed, whatever was wanted then. */
  readonly triedAt: number | undefined
  /** When what is wanted was last posted. */
  readonly postedAt: number | undefined
  /** Not before this, whatever else. */
  readonly notBefore: number
  /** What was last warned of for what is wanted. */
  readonly warned: string | undefined
  /** Why what is wanted was refused when it was last looked at; undefined where it was not. */
  readonly refusal: string | undefined
}

/** Whether the list has the entry and its signatures are still of use. */
export const isOpen = ({ listing }: Entry): boolean => listing !== 'unlisted' && listing !== 'settled'

/** Whether a job is at it: from being taken to the answer to its post. */
export const isInFlight = ({ state }: Entry): boolean => state !== 'idle' && state !== 'kept'

/**
 * One thing to do for the relayer: an entry, and what was wanted when it was taken. Once something else is wanted, or the job has
 * ended, it is no longer current, and what is reported of it changes nothing any more.
 */
export interface Job {
  readonly id: number
  readonly entry: Entry
  readonly keyShare: KeyShare
  readonly wanted: Wanted
}

/** A job whose signatures are made. */
export interface SignedJob extends Job {
  readonly signatures: Signatures
}

/** How many signatures these jobs bring. */
export function countKinds(jobs: readonly Job[]): KindCounts {
  return { exit: jobs.length, deposit: jobs.filter(({ wanted }) => wanted.deposit !== undefined).length }
}
