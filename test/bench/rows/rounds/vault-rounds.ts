/** What the rows of generation 4 share: a vault asks for its next validators, and everybody waits until both signatures of each are there. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RegisterResponse, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Beacon } from '../../../support/chain/beacon.ts'
import { eventually } from '../../../support/world/world.ts'
import { sendJson } from '../../measure.ts'

/** So that the sidecars are idle before each round. */
export const IDLE_MS = 1000
const PATIENCE_MS = 120_000
const ETH32 = 32_000_000_000

/**
 * Creates the rounds of one vault on one relayer: each asks for so many validators more, and gives the milliseconds from the request until
 * all are signed. After each the vault has registered them, as it does before it asks for others.
 *
 * @param indexesAhead of the next free index, where others are asked for at those before
 */
export function createVaultRounds(
  url: string,
  vault: string,
  beacon: Pick<Beacon, 'validatorCount' | 'addValidators'>,
  indexesAhead = 0,
): (count: number) => Promise<number> {
  return async (count) => {
    await sleep(IDLE_MS)
    const body = {
      vault,
      validators_start_index: beacon.validatorCount + indexesAhead,
      amounts: Array<number>(count).fill(ETH32),
      validator_type: '0x01',
    }
    const start = performance.now()
    const { validators } = await eventually('an answer', () =>
      sendJson<RegisterResponse>(url, '/register', body).catch(() => undefined),
    )
    const keys = validators.map(({ public_key }) => public_key)
    if (keys.length < count) throw new Error(`${keys.length} of ${count} keys were given`)
    await untilSigned(url, keys)
    const ms = performance.now() - start
    beacon.addValidators(...keys.map((key) => fromHex(key, 48)))
    return ms
  }
}

/** Follows the list by long polling until these validators have both signatures. */
async function untilSigned(url: string, keys: readonly string[]): Promise<void> {
  const open = new Set(keys)
  const deadline = performance.now() + PATIENCE_MS
  for (let after: number | undefined; open.size > 0; ) {
    if (performance.now() > deadline)
      throw new Error(`${open.size} of ${keys.length} are not signed within two minutes`)
    const path = after === undefined ? '/validators' : `/validators?wait=20&after=${after}`
    const list = await sendJson<ValidatorListResponse>(url, path)
    for (const item of list.validators) if (item.is_signatures_ready) open.delete(item.public_key)
    after = list.revision
  }
}
