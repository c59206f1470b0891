/** The beacon stand-in for `charon exit sign`: each call by its shape, and of validators only those whose exit is open. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { postValidators } from '../../support/world/nodes.ts'
import { ask, startWorld, type World } from '../../support/world/world.ts'

const cluster = loadFixtureCluster('cluster-4')
const all = cluster.expected.validators.map(({ public_key }) => public_key)
const [first = '', second = '', third = ''] = all
const path = routes.postBeaconValidators.path

let world: World
let relayer: Awaited<ReturnType<World['startRelayer']>>

beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startWorld({ oracles: 3, threshold: 2 })
  relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, OBOL_API: 'on' })
  expect((await postValidators(relayer.url, [first, second])).status).toBe(200)
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

interface Listed {
  data: { index: string; status: string; validator: { pubkey: string } }[]
}
const list = async (body: object) => {
  const answer = await ask(relayer.url, path, { body })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  expect(Compile(routes.postBeaconValidators.response).Check(answer.json)).toBe(true)
  return (answer.json as Listed).data.map(({ index, status, validator }) => [index, status, validator.pubkey])
}

describe.skipIf(skipWithoutAnvil)('the beacon stand-in', () => {
  it('says what exits are signed by', async () => {
    const { hoodi } = networks
    for (const route of [
      routes.getBeaconSyncing,
      routes.getBeaconVersion,
      routes.getBeaconSpec,
      routes.getBeaconGenesis,
    ]) {
      const { status, json } = await ask(relayer.url, route.path)
      expect([status, Compile(route.response).Check(json)]).toEqual([200, true])
    }
    const { json: genesis } = await ask(relayer.url, routes.getBeaconGenesis.path)
    expect(genesis).toEqual({
      data: {
        genesis_time: String(hoodi.genesisTimestamp),
        genesis_validators_root: '0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f',
        genesis_fork_version: '0x10000910',
      },
    })
    const { json: spec } = await ask(relayer.url, routes.getBeaconSpec.path)
    expect(spec).toMatchObject({ data: { CAPELLA_FORK_VERSION: '0x40000910', CAPELLA_FORK_EPOCH: '0' } })
    const { json: syncing } = await ask(relayer.url, routes.getBeaconSyncing.path)
    expect(syncing).toMatchObject({ data: { is_syncing: false, sync_distance: '0' } })
  })

  it('lists validators with an open exit, at the index it is for', async () => {
    const open = [
      ['100', 'pending_queued', first],
      ['101', 'pending_queued', second],
    ]
    expect(await list({ ids: all, statuses: ['pending_queued', 'active_ongoing'] })).toEqual(open)
    expect(await list({ ids: all })).toEqual(open)
    expect(await list({ ids: all, statuses: [] })).toEqual(open)
    expect(await list({ ids: [second.toUpperCase().replace('0X', '0x')] })).toEqual(open.slice(1))
    expect(await list({ ids: [third] })).toEqual([])
    expect(await list({ ids: all, statuses: ['active_ongoing'] })).toEqual([])
  })

  it('tells who names none of none, and takes no index for a key', async () => {
    expect(await list({})).toEqual([])
    expect(await list({ ids: null, statuses: null })).toEqual([])
    expect(await list({ ids: ['100', '101'] })).toEqual([])
    const many = Array<string>(20_001).fill(first)
    expect(await ask(relayer.url, path, { body: { ids: many } })).toMatchObject({
      status: 422,
      json: { code: 'TOO_MANY_SHARES' },
    })
  })

  it('never lists a registered one', async () => {
    await world.query(
      `update validators set registered_at = now(), beacon_index = 100, beacon_vault = null where public_key = $1`,
      [Buffer.from(first.slice(2), 'hex')],
    )
    expect(await list({ ids: all })).toEqual([['101', 'pending_queued', second]])
  })
})

describe.skipIf(skipWithoutAnvil)('without OBOL_API', () => {
  it('nothing of it is there, and each answer says which setting opens it', async () => {
    await using off = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const ofCharon = Object.values(routes).filter((route) => /^\/(obol|exp|deposit_data)\//.test(route.path))
    expect(ofCharon).toHaveLength(8)
    for (const { method, path: template } of ofCharon) {
      const filled = template
        .replace(':lock', `0x${'11'.repeat(32)}`)
        .replace(':share', '1')
        .replace(':public_key', first)
      const answer = await ask(off.url, filled, { method, ...(method === 'POST' ? { body: {} } : {}) })
      expect(answer, filled).toMatchObject({ status: 404, json: { code: 'OBOL_API_OFF' } })
      expect((answer.json as ErrorResponse).message).toContain('OBOL_API=on')
    }
  })
})
