/** What the tests of odd databases and queues share: what `/ready` says, and an exit that is half signed when the trouble comes. */

import type { Ready } from '@dvt-relayer/api/schemas.ts'
import { expect } from 'vitest'
import { createTestKeys } from '../../support/keys/keys.ts'
import { postValidators, publicKeysOf, sidecarRound, untilOracleSet, untilShares } from '../../support/world/nodes.ts'
import { ask, eventually, type World } from '../../support/world/world.ts'

export const threshold = { SIGNATURE_THRESHOLD: '3' }
export const make = (count: number) => createTestKeys(count, { nodes: 4, threshold: 3 })

/** Resolves when a line of `/ready` is fine, or is not in these words; with the status of the answer. */
export function untilReady(url: string, name: string, words: RegExp | 'ok'): Promise<number> {
  let last: unknown
  return eventually(`/ready: ${name} ${words}`, async () => {
    const answer = await ask(url, '/ready')
    const check = (answer.json as Ready).checks[name]
    last = check
    const isSo = words === 'ok' ? check?.ok === true : check?.ok === false && words.test(check.message ?? '')
    return isSo ? answer.status : undefined
  }).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; it says ${JSON.stringify(last)}`)
  })
}

/** What comes over a store, in which words `/ready` has it, and how it goes again. */
export interface Trouble {
  line: 'database' | 'queue'
  words: RegExp
  begin(): Promise<unknown> | unknown
  end(): Promise<unknown> | unknown
}

/**
 * Two of four nodes have signed when the trouble comes. It is told in its words; once it is over all goes on by itself, and what was there
 * before still is.
 */
export async function expectRecovery(
  world: World,
  url: string,
  { line, words, begin, end }: Trouble,
  meanwhile: () => Promise<void> = async () => {},
): Promise<void> {
  const validators = make(2)
  const keys = publicKeysOf(validators)
  await untilOracleSet(url)
  await untilReady(url, line, 'ok')
  await eventually('the keys are taken', async () =>
    (await postValidators(url, keys)).status === 200 ? true : undefined,
  )
  for (const share of [1, 2]) expect((await sidecarRound(url, world.network, validators, share)).status).toBe(200)
  await begin()
  try {
    const status = await untilReady(url, line, words)
    expect(status).toBe(line === 'database' ? 503 : 200)
    await meanwhile()
  } finally {
    await end()
  }
  await untilReady(url, line, 'ok')
  await eventually('the third node is heard', async () =>
    (await sidecarRound(url, world.network, validators, 4).catch(() => undefined))?.status === 200 ? true : undefined,
  )
  // What was given to a queue that failed is given out again after a while.
  await world.query(`update messages set queued_at = queued_at - interval '1 minute'`)
  await eventually('oracle shares', async () => {
    const answer = await postValidators(url, keys)
    return answer.status === 200 && (answer.json as { ready: boolean }).ready ? true : undefined
  })
  await untilShares(url, keys)
}
