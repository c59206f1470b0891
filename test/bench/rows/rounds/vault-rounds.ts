/** What the rows of generation 4 share: a vault asks for its next validators, and everybody waits until both signatures of each are there. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { RegisterResponse, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import { eventually } from '../../../support/world/world.ts'
import { sendJson } from '../../measure.ts'

/** So that the sidecars are idle before each round. */
export const IDLE_MS = 1000
const PATIENCE_MS = 120_000
const ETH32 = 32_000_000_000

/**
 * Creates the rounds of one vault on one relayer: each asks for so many validators more, and gives the milliseconds from the request until
 * all are signed. Those of before are asked for again with them, as they are the vault's until they have deposits, and are ready.
 */
export function createVaultRounds(url: string, vault: string, startIndex: number): (count: number) => Promise<number> {
  let asked = 0
  return async (count) => {
    await sleep(IDLE_MS)
    asked += count
    const body = {
      vault,
      validators_start_index: startIndex,
      amounts: Array<number>(asked).fill(ETH32),
      validator_type: '0x01',
    }
    const start = performance.now()
    await eventually('an answer', () => sendJson<RegisterResponse>(url, '/register', body).catch(() => undefined))
    await untilSigned(url, asked)
    return performance.now() - start
  }
}

/** Follows the list by long polling until so many validators have both signatures. */
async function untilSigned(url: string, count: number): Promise<void> {
  const signed = new Set<string>()
  const deadline = performance.now() + PATIENCE_MS
  for (let after: number | undefined; signed.size < count; ) {
    if (performance.now() > deadline) throw new Error(`${signed.size} of ${count} are signed within two minutes`)
    const path = after === undefined ? '/validators' : `/validators?wait=20&after=${after}`
    const list = await sendJson<ValidatorListResponse>(url, path)
    for (const item of list.validators) if (item.is_signatures_ready) signed.add(item.public_key)
    after = list.revision
  }
}
