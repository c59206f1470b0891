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

/** Why there is no key for a vault: for whose relayer it is, and for who may see of its own vault alone. */
export interface Why {
  reason: string
  reasonOfItsOwn: string
}

/**
 * Why there is no key for a vault, by how many keys each vault may register (null: any vault). Only a free key shows that it is named for a
 * vault: a reserved one may be anybody's. Pure.
 */
export function whyUnserved(vault: Uint8Array, counts: Counts): Why {
  const alike = (reason: string): Why => ({ reason, reasonOfItsOwn: reason })
  const left = counts.filter(({ free, reserved }) => free + reserved > 0)
  if (left.some((one) => one.vault === null || equalBytes(one.vault, vault)))
    return alike('the keys it could have are reserved, or the chain has deposits of them')
  if (left.length === 0)
    return alike('no imported key is left, as last counted: all are registered, or none was imported')
  const named = left.filter(({ free }) => free > 0)
  const others = named.flatMap((one) => one.vault ?? [])
  if (others.length === 0) return alike('the keys that are left are reserved for other vaults, or named for them')
  const keys = named.reduce((sum, { free }) => sum + free, 0)
  const more = others.length > SHOWN ? ` and ${others.length - SHOWN} more` : ''
  const names = others.slice(0, SHOWN).map(checksumAddress).join(', ')
  return {
    reason: `no lock and no line of PUBLIC_KEYS_FILE names it: the ${count(keys, 'free key')} can only go to ${names}${more}`,
    reasonOfItsOwn: 'no free key is named for it: ask whoever runs the relayer',
  }
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
      try {
        const known = (await findStored(db, nowMs())).filter(({ vault }) => !written.has(vault))
        await storeCheckpoint(db, NAME, [...written.values(), ...known].slice(0, MOST))
      } catch (error) {
        notes = new Map([...written, ...notes].slice(0, MOST))
        throw error
      }
    },
  }
}
export type UnservedVaults = ReturnType<typeof createUnserved>

/** Vaults that asked in vain within the last minutes, and why there is no key for each. */
export async function findUnserved(db: Sql, nowMs = Date.now()): Promise<(Unserved & Why)[]> {
  const found = await findStored(db, nowMs)
  if (found.length === 0) return []
  const counts = await countKeysByVault(db)
  return found.map((one) => ({ ...one, ...whyUnserved(Buffer.from(one.vault.slice(2), 'hex'), counts) }))
}

async function findStored(db: Sql, nowMs: number): Promise<Unserved[]> {
  const value = await findCheckpoint(db, NAME)
  return stored.Check(value) ? value.filter(({ asked_at: at }) => nowMs / 1000 - at < KEPT_SECONDS) : []
}
