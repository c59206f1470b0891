/**
 * What oracles fetch: their own encrypted shares, in the order in which they became visible, from a cursor on; and the whole share set
 * of one validator.
 *
 * Share sets get their revision under the lock that announces it, so "everything after the last one delivered" misses nothing. What
 * becomes outdated, or ends, is not delivered again; `show-again.ts` says what is.
 */

import type { ExitShareItem, OracleSharesResponse } from '@dvt-relayer/api/schemas.ts'
import { accountKey, currentAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { addressOfPublicKey, checksumAddress, createSpelling } from '@dvt-relayer/crypto/address.ts'
import { takeNonce } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import { findLastRevision } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { ExitShareRow, KnownOracleSet, Membership, ShareCursor } from '@dvt-relayer/db/queries/oracle-fetch.ts'
import { findExitShares, findOracleSetsAfter, findShareSet } from '@dvt-relayer/db/queries/oracle-fetch.ts'
import type { Context } from '../../context.ts'
import { ciphertextsOf, oracleKeysOf, publicKeySharesOf } from './share-set.ts'

/** Changes that come within this time wake a waiting oracle once. */
const GATHER_MS = 200
/** Requests of one oracle that may wait at a process, its replicas included. What more there are is answered at once. */
const MOST_WAITING = 16
/** Waiting requests of one caller that look again at once: all others of the process need the database as well. */
const LOOKS_AT_ONCE = 2
/** Items of a page that are made in one go. */
const MADE_AT_ONCE = 64
const START: ShareCursor = { revision: 0, messageId: 0, oracleSetId: 0 }

/** What an oracle asks for. */
interface ExitSharesRequest {
  /** 20 bytes. */
  oracle: Uint8Array
  vault: Uint8Array | undefined
  publicKey: Uint8Array | undefined
  after: ShareCursor | undefined
  limit: number
}

/** A page of shares. */
export interface ExitSharesPage {
  items: ExitShareItem[]
  /** Of the last item, or the one asked with where there is none. */
  cursor: ShareCursor
}

/** Creates the service. */
export function createOracleFetch({ db }: Pick<Context, 'db'>) {
  const memberships = createMemberships(db)
  const changes = createChanges()
  const spell = createSpelling()
  const turns = createKeyedQueue({ depth: LOOKS_AT_ONCE, waiting: Number.POSITIVE_INFINITY })
  /** How many requests of each oracle wait. */
  const waiting = new Map<string, number>()

  /** Where to begin. A cursor from the future is one of another database, or of this one before it was restored: all is new then. */
  async function beginning(after: ShareCursor | undefined): Promise<ShareCursor> {
    if (after === undefined) return START
    return after.revision > (await findLastRevision(db)) ? START : after
  }

  async function look({ oracle, vault, publicKey, limit }: ExitSharesRequest, after: ShareCursor) {
    return findExitShares(db, await memberships.find(oracle), { vault, publicKey }, after, limit)
  }

  /** What comes after a look at `seen` changes found nothing; nothing when the time is up, or the signal aborts. */
  async function lookUntil(
    request: ExitSharesRequest,
    after: ShareCursor,
    seen: number,
    deadline: number,
    signal: AbortSignal,
  ): Promise<ExitShareRow[]> {
    let rows: ExitShareRow[] = []
    for (let last = seen; rows.length === 0; ) {
      const left = deadline - performance.now()
      if (left <= 0 || signal.aborted || changes.isClosed()) break
      await changes.wait(last, left, signal)
      // In lanes, since a place is kept while a caller waits in its own line for the database.
      await turns.run(accountKey(currentAccount()), async () => {
        last = changes.count()
        if (!signal.aborted) rows = await look(request, after)
      })
    }
    return rows
  }

  return {
    /** Whether any oracle set that was ever in force here has this oracle. */
    async isKnown(oracle: Uint8Array): Promise<boolean> {
      // What was known once stays known, so a stranger's many questions delay no oracle's.
      return memberships.among(oracle).length > 0 || (await memberships.find(oracle)).length > 0
    },

    /** Uses up the nonce of a request that this oracle signed; false when it was used before. */
    takeNonce: (oracle: Uint8Array, nonce: Uint8Array): Promise<boolean> => takeNonce(db, oracle, nonce),

    /** The shares that follow the cursor; where there are none, those that come within `waitMs`, or until the signal aborts. */
    async fetch(request: ExitSharesRequest, waitMs: number, signal: AbortSignal): Promise<ExitSharesPage> {
      const deadline = performance.now() + waitMs
      const after = await beginning(request.after)
      const seen = changes.count()
      const rows = await look(request, after)
      const address = toHex(request.oracle)
      const others = waiting.get(address) ?? 0
      if (rows.length > 0 || others >= MOST_WAITING) return pageOf(rows, after, spell)
      waiting.set(address, others + 1)
      try {
        return await pageOf(await lookUntil(request, after, seen, deadline, signal), after, spell)
      } finally {
        const left = (waiting.get(address) ?? 1) - 1
        if (left === 0) waiting.delete(address)
        else waiting.set(address, left)
      }
    },

    /**
     * The vault of a validator, where it is known, and the share set that is handed out for it, where there is one. Undefined for a key
     * that the relayer does not know.
     */
    async findSet(
      publicKey: Uint8Array,
    ): Promise<{ vault: Uint8Array | null; set: OracleSharesResponse | undefined } | undefined> {
      const found = await findShareSet(db, publicKey)
      if (found === undefined) return undefined
      const { vault, set } = found
      return { vault, set: set === null ? undefined : setOf(publicKey, vault, set) }
    },

    /** A notification, or a connection for them that is there again: something may have come. */
    notified: (): void => changes.tell(),

    /** Wakes everybody who waits, for a stop. */
    close: (): void => changes.close(),
  }
}
export type OracleFetch = ReturnType<typeof createOracleFetch>

/** Every oracle set ever adopted, as the addresses of its oracles in order: what a row says of them never changes. */
function createMemberships(db: Context['db']) {
  const sets: { id: number; oracles: string[] }[] = []
  const newest = () => sets.at(-1)?.id ?? 0
  /** In the sets that have been read. */
  function among(oracle: Uint8Array): Membership[] {
    const address = toHex(oracle)
    return sets.flatMap(({ id, oracles }) => {
      const position = oracles.indexOf(address) + 1
      return position === 0 ? [] : [{ oracleSetId: id, position }]
    })
  }
  return {
    among,
    async find(oracle: Uint8Array): Promise<Membership[]> {
      // Two requests may read the same new set at once: the first keeps it.
      for (const row of await findOracleSetsAfter(db, newest()))
        if (row.id > newest()) sets.push({ id: row.id, oracles: addressesOf(row).map(toHex) })
      return among(oracle)
    },
  }
}

/** Counts what may have brought something, and wakes those who wait for it. */
function createChanges() {
  let count = 0
  let isClosed = false
  const waiters = new Set<() => void>()
  const tell = () => {
    count++
    for (const wake of [...waiters]) wake()
  }
  return {
    count: () => count,
    isClosed: () => isClosed,
    tell,
    close(): void {
      isClosed = true
      tell()
    },
    /** Waits until there are more than `seen` changes, and a little for those that come with them. */
    async wait(seen: number, ms: number, signal: AbortSignal): Promise<void> {
      const stop = new AbortController()
      const wake = () => stop.abort()
      waiters.add(wake)
      if (count !== seen || isClosed) wake()
      await pause(ms, AbortSignal.any([stop.signal, signal]))
      waiters.delete(wake)
      if (stop.signal.aborted && !isClosed) await pause(Math.min(GATHER_MS, ms), signal)
    },
  }
}

const addressesOf = (set: Pick<KnownOracleSet, 'publicKeys'>): Uint8Array[] => oracleKeysOf(set).map(addressOfPublicKey)

type Spell = ReturnType<typeof createSpelling>

async function pageOf(rows: readonly ExitShareRow[], after: ShareCursor, spell: Spell): Promise<ExitSharesPage> {
  const last = rows.at(-1)
  const cursor =
    last === undefined ? after : { revision: last.revision, messageId: last.messageId, oracleSetId: last.oracleSetId }
  return { items: await mapInPieces(rows, MADE_AT_ONCE, (row) => itemOf(row, spell)), cursor }
}

const itemOf = (row: ExitShareRow, spell: Spell): ExitShareItem => ({
  public_key: toHex(row.publicKey),
  validator_index: row.validatorIndex,
  epoch: row.epoch,
  vault: row.vault === null ? null : spell(row.vault),
  public_key_share: toHex(row.publicKeyShare),
  encrypted_exit_signature: toHex(row.ciphertext),
  oracle_set: {
    cid: row.cid,
    threshold: row.threshold,
    oracles: row.oracles,
    place: row.position,
    block_number: row.blockNumber,
  },
  receipt: toHex(row.receipt),
  created_at_timestamp: row.createdAtSeconds,
  is_outdated: !row.isCurrent,
})

type ShareSetRow = NonNullable<NonNullable<Awaited<ReturnType<typeof findShareSet>>>['set']>

const setOf = (publicKey: Uint8Array, vault: Uint8Array | null, set: ShareSetRow): OracleSharesResponse => ({
  public_key: toHex(publicKey),
  validator_index: set.validatorIndex,
  epoch: set.epoch,
  vault: vault === null ? null : checksumAddress(vault),
  oracle_set: {
    cid: set.cid,
    threshold: set.threshold,
    block_number: set.blockNumber,
    is_current: set.isCurrent,
  },
  oracles: addressesOf(set).map(checksumAddress),
  oracle_public_keys: oracleKeysOf(set).map(toHex),
  public_keys: publicKeySharesOf(set).map(toHex),
  encrypted_exit_signatures: ciphertextsOf(set).map(toHex),
  receipt: toHex(set.receipt),
  created_at_timestamp: set.createdAtSeconds,
})
