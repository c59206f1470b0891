/**
 * Vaults that ask for validators and get none. The answer stays `[]`, as the Operator knows it; so that a person learns of it, it is logged, and
 * left in the database for the status page, the command and the doctor, whichever process was asked. Who asks is any caller, so all of it is
 * bounded, and nothing is decided by it.
 */

import { count } from '@dvt-relayer/common/findings.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { countKeysByVault } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import type { RegistrationRequest } from './choose-keys.ts'

const NAME = 'unserved_vaults'
/** Vaults that are told of, those that asked last. */
const MOST = 32
/** Who has not asked again for so long has keys, or wants none any more. */
const KEPT_SECONDS = 600
const TOLD_MS = 60_000
/** Vaults that are named of those that have keys. */
const SHOWN = 3

const Unserved = Type.Object({
  vault: Type.String(),
  /** Unix seconds. */
  asked_at: Type.Integer(),
  validators: Type.Integer(),
})
type Unserved = Static<typeof Unserved>
const stored = Compile(Type.Array(Unserved, { maxItems: MOST }))

type Counts = Awaited<ReturnType<typeof countKeysByVault>>

/** Why there is no key for a vault, by how many keys each vault may register (null: any vault). Pure. */
export function whyUnserved(vault: Uint8Array, counts: Counts): string {
  const left = counts.filter(({ free, reserved }) => free + reserved > 0)
  if (left.some((one) => one.vault === null || equalBytes(one.vault, vault)))
    return 'the keys it could have are reserved, or the chain has deposits of them'
  const others = left.flatMap((one) => one.vault ?? [])
  if (others.length === 0) return 'no imported key is left, as last counted: all are registered, or none was imported'
  const keys = left.reduce((sum, { free, reserved }) => sum + free + reserved, 0)
  const more = others.length > SHOWN ? ` and ${others.length - SHOWN} more` : ''
  const names = others.slice(0, SHOWN).map(checksumAddress).join(', ')
  return `no lock and no line of PUBLIC_KEYS_FILE names it: the ${count(keys, 'key')} left can only go to ${names}${more}`
}

/** Creates what notes them in memory, and writes what was noted from time to time. */
export function createUnserved({ db, events }: Pick<Context, 'db' | 'events'>, nowMs: () => number = Date.now) {
  let notes = new Map<string, Unserved>()
  /** When each was logged last, the oldest first. */
  const told = new Map<string, number>()

  /** Whether it is time to log this one: an operator that polls is logged once a minute. */
  function isTold(vault: string): boolean {
    const now = nowMs()
    if (now - (told.get(vault) ?? Number.NEGATIVE_INFINITY) < TOLD_MS) return true
    told.delete(vault)
    told.set(vault, now)
    const [oldest = vault] = told.keys()
    if (told.size > MOST) told.delete(oldest)
    return false
  }

  return {
    /** A vault was given nothing of what it asked for. */
    note(request: Pick<RegistrationRequest, 'vault' | 'amountsGwei' | 'caller'>): void {
      const vault = checksumAddress(request.vault)
      const validators = request.amountsGwei.length
      if (!isTold(vault)) events.vaultUnserved(vault, validators, request.caller)
      if (notes.has(vault) || notes.size < MOST)
        notes.set(vault, { vault, asked_at: Math.floor(nowMs() / 1000), validators })
    },
    /** Writes what was noted since the last time, beside what other processes have. */
    async write(): Promise<void> {
      if (notes.size === 0) return
      const written = notes
      notes = new Map()
      const known = (await findStored(db, nowMs())).filter(({ vault }) => !written.has(vault))
      await storeCheckpoint(db, NAME, [...written.values(), ...known].slice(0, MOST))
    },
  }
}
export type UnservedVaults = ReturnType<typeof createUnserved>

/** Vaults that asked in vain within the last minutes, and why there is no key for each. */
export async function findUnserved(db: Sql, nowMs = Date.now()): Promise<(Unserved & { reason: string })[]> {
  const found = await findStored(db, nowMs)
  if (found.length === 0) return []
  const counts = await countKeysByVault(db)
  return found.map((one) => ({ ...one, reason: whyUnserved(Buffer.from(one.vault.slice(2), 'hex'), counts) }))
}

async function findStored(db: Sql, nowMs: number): Promise<Unserved[]> {
  const value = await findCheckpoint(db, NAME)
  return stored.Check(value) ? value.filter(({ asked_at: at }) => nowMs / 1000 - at < KEPT_SECONDS) : []
}
