/** Which keys the state has, remembered between heads. */

import { type ChainValidator, notAskedFor } from './beacon-answers.ts'
import type { BeaconApi } from './beacon-api.ts'
import { countValidators } from './validator-count.ts'

/** More new validators between two heads than are looked up one by one. */
const GROWTH = 1_000

/**
 * What stays known of the registry between heads. It only ever grows along one chain: while the last validator counted has
 * the same key as before, all before it are the same too, and only what came after is read.
 */
export function createKnownKeys(api: BeaconApi) {
  let last: { total: number; lastKey: string } | undefined
  let present = new Set<string>()
  let absent = new Set<string>()

  return {
    /** Number of validators in the state. */
    async count(state: string): Promise<number> {
      const before = last
      const sameChain =
        before !== undefined && (await api.validator(state, before.total - 1))?.publicKey === before.lastKey
      const count = await countValidators((index) => api.validator(state, index), sameChain ? before : undefined)
      last = undefined
      const growth = sameChain ? count.total - before.total : Number.POSITIVE_INFINITY
      if (growth > GROWTH) {
        present = new Set()
        absent = new Set()
      } else if (growth > 0) {
        const ids = Array.from({ length: growth }, (_, i) => String(count.total - growth + i))
        for (const { publicKey } of await api.validators(state, ids))
          if (absent.delete(publicKey)) present.add(publicKey)
      }
      last = count
      return count.total
    },
    /** Which of these keys the state has; to be called after `count` of the same state. */
    async present(state: string, keys: ReadonlySet<string>): Promise<ReadonlySet<string>> {
      const asked = new Set([...keys].filter((key) => !present.has(key) && !absent.has(key)))
      const found = byKey(await api.validators(state, [...asked]), asked)
      for (const key of asked) (found.has(key) ? present : absent).add(key)
      present = present.intersection(keys)
      absent = absent.intersection(keys)
      return present
    },
  }
}

/** Validators by key. @throws {ChainError} CONSENSUS_INVALID for one that was not asked for, or twice the same */
export function byKey(validators: readonly ChainValidator[], asked: ReadonlySet<string>): Map<string, ChainValidator> {
  const found = new Map<string, ChainValidator>()
  for (const validator of validators) {
    if (!asked.has(validator.publicKey) || found.has(validator.publicKey)) throw notAskedFor()
    found.set(validator.publicKey, validator)
  }
  return found
}
