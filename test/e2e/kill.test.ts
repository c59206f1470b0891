/** A relayer that is killed again and again, at any moment, loses nothing: every exit becomes ready, and no share ever changes. */

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findFreePorts } from '../demo/ports.ts'
import { PATIENCE_MS } from '../demo/wait.ts'
import { createTestKeys } from '../support/keys/keys.ts'
import type { AppProcess } from '../support/services/process.ts'
import { startProcess } from '../support/services/process.ts'
import { assertOraclesCanExit, getExits, postValidators, sidecarRound } from '../support/world/nodes.ts'
import type { World } from '../support/world/world.ts'
import { hex, startWorld } from '../support/world/world.ts'

const KILLS = 20
const VALIDATORS = 40

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

it(`SIGKILL at ${KILLS} random moments, on the embedded PostgreSQL`, { timeout: 600_000 }, async () => {
  const [port = 0] = await findFreePorts(1)
  const url = `http://127.0.0.1:${port}`
  const dir = join(world.dir, 'killed')
  const environment = world.environment({
    SIGNATURE_THRESHOLD: '3',
    DATABASE_URL: '',
    SEALING_KEY: '',
    DATA_DIR: dir,
    RELAYER_PORT: String(port),
    LOG_LEVEL: 'debug',
  })
  const validators = createTestKeys(VALIDATORS, { nodes: 4, threshold: 3 })
  const keys: string[] = validators.map(({ publicKey }) => hex(publicKey))
  const handedOut = new Map<string, string>()
  const faults: string[] = []
  let isOver = false

  /** Clients of today: whatever fails is tried again. What the operator once got must never change. */
  const operator = async () => {
    while (!isOver) {
      try {
        // Ten keys more every few rounds, so that there is always something under way.
        const answer = await postValidators(url, keys)
        for (const item of (answer.json as ValidatorsResponse | undefined)?.validators ?? []) {
          const shares = JSON.stringify(item.oracles_exit_signature_shares)
          if (shares === 'null') continue
          if ((handedOut.get(item.public_key) ?? shares) !== shares)
            faults.push(`the shares of ${item.public_key.slice(0, 10)} changed`)
          handedOut.set(item.public_key, shares)
        }
      } catch {
        // The relayer is down for now.
      }
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
  }
  const sidecar = async (share: number) => {
    for (let round = 0; !isOver; round++) {
      try {
        // Each round a few validators more, so that partial signatures trickle in over all the kills.
        await sidecarRound(url, world.network, validators.slice(0, 2 * (round + 1)), share)
      } catch {
        // The relayer is down for now.
      }
      await new Promise((resolve) => setTimeout(resolve, 400))
    }
  }

  let relayer: AppProcess | undefined
  try {
    const clients = [operator(), ...[1, 2, 3, 4].map(sidecar)]
    for (let kill = 0; kill < KILLS; kill++) {
      relayer = startProcess('relayer', environment)
      // From the first milliseconds of boot to well into the work.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3000))
      expect(await relayer.end('SIGKILL'), relayer.output()).toBe('SIGKILL')
    }
    relayer = startProcess('relayer', environment)
    await relayer.logged('relayer started')
    const deadline = performance.now() + 2 * PATIENCE_MS
    while (handedOut.size < VALIDATORS && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 100))
    isOver = true
    await Promise.all(clients)
    expect(faults).toEqual([])
    expect(handedOut.size).toBe(VALIDATORS)
    const exits = await getExits(url)
    for (const [position, key] of keys.entries()) {
      const index = exits.find((exit) => exit.public_key === key)?.validator_index ?? -1
      expect(index).toBe(100 + position)
      if (position % 8 === 0)
        await assertOraclesCanExit(
          world.network,
          world.oracles,
          7,
          validators[position]?.publicKey ?? new Uint8Array(),
          index,
          JSON.parse(handedOut.get(key) ?? 'null'),
        )
    }
    expect(await relayer.end('SIGTERM')).toBe(0)
  } finally {
    isOver = true
    await relayer?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  }
})
