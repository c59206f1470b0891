/** `GET /whoami`: what a caller is told of its token, and of the clusters that covers. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Whoami } from '@dvt-relayer/api/schemas.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import type { World } from '../../support/world/world.ts'
import { ask, startWorld } from '../../support/world/world.ts'

const vaultOf = (byte: number) => new Uint8Array(20).fill(byte)
const hexOf = (byte: number) => `0x${Buffer.from(vaultOf(byte)).toString('hex')}`
const tokens = {
  'node-1': createToken('node-1', 'sidecar', '1'),
  'node-5': createToken('node-5', 'sidecar', '5,9'),
  any: createToken('any', 'sidecar', '*'),
  operator: createToken('operator', 'operator', hexOf(0x22)),
  oracle: createToken('oracle', 'oracle', hexOf(0x33)),
  admin: createToken('admin', 'admin', '*'),
}

let world: World
let relayer: Awaited<ReturnType<World['startRelayer']>>
let lockFiles: string
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  const make = (name: string, validators: number, nodes: number, vault: number) =>
    makeCluster({
      dir: join(world.dir, name),
      nodes,
      threshold: 3,
      validators,
      network: world.network,
      withdrawalAddress: vaultOf(vault),
      feeRecipient: vaultOf(1),
      name,
    })
  const made = await Promise.all([make('small', 1, 4, 0x11), make('large', 2, 5, 0x22)])
  lockFiles = made.map(({ lockFile }) => lockFile).join()
  const file = join(world.dir, 'tokens')
  await writeFile(
    file,
    Object.values(tokens)
      .map(({ line }) => line)
      .join('\n'),
  )
  relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: lockFiles, AUTH_TOKENS_FILE: file })
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

async function whoami(name: keyof typeof tokens): Promise<Whoami> {
  const headers = { authorization: `Bearer ${tokens[name].token}` }
  const { status, json } = await ask(relayer.url, '/whoami', { headers })
  expect(status).toBe(200)
  expect(Compile(Whoami).Check(json)).toBe(true)
  return json as Whoami
}
const UNBOUND = { vaults: null, oracles: null, share_indexes: null }
const small = {
  name: 'small',
  source: 'lock',
  lock_hash: expect.stringMatching(/^0x[0-9a-f]{64}$/),
  threshold: 3,
  validators: 1,
  share_indexes: [1, 2, 3, 4],
}
const large = { ...small, name: 'large', validators: 2, share_indexes: [1, 2, 3, 4, 5] }
const byName = (clusters: Whoami['clusters']) => clusters.toSorted((a, b) => (a.name < b.name ? 1 : -1))

describe('GET /whoami', () => {
  it('tells a node its share indexes, and the clusters that have a node of one of them', async () => {
    const before = Math.floor(Date.now() / 1000)
    const { clusters, time, ...one } = await whoami('node-1')
    expect(one).toEqual({
      name: 'node-1',
      role: 'sidecar',
      identity: 'token',
      binding: { ...UNBOUND, share_indexes: [1] },
      takes_any_key: false,
      network: 'hoodi',
      version: VERSION,
    })
    expect(byName(clusters)).toEqual([small, large])
    expect(time).toBeGreaterThanOrEqual(before)
    expect(time).toBeLessThanOrEqual(Date.now() / 1000)
    expect((await whoami('node-5')).clusters).toEqual([large])
    expect(byName((await whoami('any')).clusters)).toEqual([small, large])
  })

  it('tells an operator of the clusters of its vaults alone, an oracle of none, an admin of all', async () => {
    const operator = await whoami('operator')
    expect(operator.binding).toEqual({ ...UNBOUND, vaults: [checksumAddress(vaultOf(0x22))] })
    expect(operator.clusters).toEqual([large])
    expect(await whoami('oracle')).toMatchObject({
      role: 'oracle',
      binding: { ...UNBOUND, oracles: [checksumAddress(vaultOf(0x33))] },
      clusters: [],
    })
    const admin = await whoami('admin')
    expect(admin).toMatchObject({ name: 'admin', role: 'admin', binding: UNBOUND })
    expect(byName(admin.clusters)).toEqual([small, large])
  })

  it('wants a token where there are some, and takes anybody where there are none', async () => {
    expect((await ask(relayer.url, '/whoami')).status).toBe(401)
    await using open = await world.startRelayer({ SIGNATURE_THRESHOLD: '3', ROLE: 'worker', OBOL_API: 'on' })
    expect((await ask(open.url, '/whoami')).json).toMatchObject({
      takes_charon: true,
      name: null,
      role: 'admin',
      binding: UNBOUND,
      takes_any_key: true,
      network: 'hoodi',
    })
  })
})
