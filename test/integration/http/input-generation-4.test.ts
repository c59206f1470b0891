/** Bad input to generation 4: a 422 that says what to do, nothing changed, nothing recorded, nothing of the input repeated. */

import { join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { expectRefusal, mutations } from '../../support/mutations.ts'
import { nextIndex } from '../../support/operator/operator.ts'
import { addRegistered, amountsBody, ETH, pairsBody, post, query } from '../../support/stages/manager.ts'
import { getValidators, sidecar2Round, signedPair } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
let relayer: Relayer
let url: string
/** By path: a body that is right, and had its answer already. */
let bodies: Record<string, Record<string, unknown>>
let before: unknown
const PATHS = ['/register', '/fund', '/withdraw', '/consolidate', '/signatures'] as const

/** Everything that requests can change. */
const readTables = () =>
  Promise.all(
    ['validators', 'messages', 'partial_signatures', 'deposit_bindings', 'key_share_hints', 'manager_signatures'].map(
      (table) => query(world, `select t::text from ${table} t order by 1`),
    ),
  )

beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  const vault = await world.deployVault()
  const { address } = vault
  const cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 3,
    threshold: 2,
    validators: 2,
    network: world.network,
    withdrawalAddress: fromHex(address, 20),
    feeRecipient: fromHex(address, 20),
  })
  relayer = await world.startRelayer({
    CLUSTER_LOCK_FILES: cluster.lockFile,
    MAX_KEYS_PER_REQUEST: '3',
    MAX_SHARES_PER_REQUEST: '5',
    MAX_BODY_BYTES: '2000000',
  })
  url = relayer.url
  const [a, b] = [await addRegistered(world, vault), await addRegistered(world, vault)]
  const register = {
    vault: address,
    validators_start_index: nextIndex(world.beacon) + 100,
    amounts: [32 * ETH],
    validator_type: '0x01',
  }
  expect((await post(url, '/register', register)).status).toBe(200)
  const [item] = await getValidators(url)
  const validator = cluster.validators[0]
  if (item === undefined || validator === undefined) throw new Error('nothing to sign')
  await sidecar2Round(url, world.network, cluster.validators, 1)
  bodies = {
    '/register': register,
    '/fund': amountsBody(address, [[a, ETH]]),
    '/withdraw': amountsBody(address, [[a, ETH]]),
    '/consolidate': pairsBody(address, [[a, b]]),
    '/signatures': { share_index: 1, shares: [signedPair(world.network, validator, 1, item)] },
  }
  for (const path of PATHS) expect([path, (await post(url, path, bodies[path])).status]).toEqual([path, 200])
  before = await readTables()
})
afterEach(async () => {
  if (!skipWithoutAnvil) expect(await readTables()).toEqual(before)
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** What is right by chance: less than an ETH can be withdrawn, 0 is all; a post of nothing is fine; hints are never judged. */
const RIGHT: Partial<Record<(typeof PATHS)[number], (path: string, value: unknown) => boolean>> = {
  '/withdraw': (path, value) =>
    (path === 'body.amounts[0]' && value === 0) || (path === 'body.amounts' && JSON.stringify(value) === '[1]'),
  '/signatures': (path, value) =>
    (path === 'body.shares' && Array.isArray(value) && value.length === 0) ||
    (/public_key_shares$/.test(path) && (value === undefined || value === null || JSON.stringify(value) === '[]')) ||
    (/public_key_shares\[\d\]\.share_index$/.test(path) && typeof value === 'number') ||
    (/public_key_shares\[\d\]\.public_key_share$/.test(path) && typeof value === 'string'),
}

/** Of an item with two signatures the good one is kept, and the other is a failure in an answer of 200. */
const isHalfRight = (path: string, name: string) =>
  path === '/signatures' && /\.(exit|deposit)_signature = "/.test(name)

describe.skipIf(skipWithoutAnvil)('every mutation of a body', () => {
  it.each(PATHS)('POST %s', async (path) => {
    const cases = mutations(bodies[path], RIGHT[path])
    expect(cases.length).toBeGreaterThan(60)
    for (const { name, body } of cases) {
      const answer = await post(url, path, JSON.stringify(body), { 'content-type': 'application/json' })
      if (isHalfRight(path, name)) {
        expect(answer, name).toMatchObject({
          status: 200,
          json: { failures: [{ index: 0, code: 'SIGNATURE_MALFORMED' }] },
        })
        continue
      }
      expect(answer.status, name).toBe(422)
      expectRefusal(answer)
      const { code, message } = answer.json as ErrorResponse
      // The place, and what belongs there.
      if (code === 'BODY_INVALID') expect(message, name).toMatch(/^body(\/\w+)* must (?!be equal to constant)/)
      else expect(message, name).toMatch(/ (is|are|has) /)
    }
  })

  it.each(PATHS)('what is right by chance is taken by POST %s', async (path) => {
    if (path === '/withdraw') return
    const all = new Set(mutations(bodies[path]).map(({ name }) => name))
    for (const { name } of mutations(bodies[path], RIGHT[path])) all.delete(name)
    for (const { name, body } of mutations(bodies[path]).filter((one) => all.has(one.name)))
      expect([name, (await post(url, path, body)).status]).toEqual([name, 200])
  })

  it.each(PATHS)('POST %s repeats nothing of what it is sent', async (path) => {
    const canary = 'canary'.repeat(5_000)
    const walk = (node: unknown, rebuild: (value: unknown) => unknown): unknown[] => {
      if (typeof node === 'string') return [rebuild(canary), rebuild(`0x${canary}`)]
      if (typeof node !== 'object' || node === null) return [rebuild(canary), rebuild({ [canary]: canary })]
      return Object.entries(node).flatMap(([name, item]) =>
        walk(item, (value) =>
          rebuild(Array.isArray(node) ? node.with(Number(name), value) : { ...node, [name]: value }),
        ),
      )
    }
    for (const body of [...walk(bodies[path], (value) => value), { [canary]: canary }, [canary], canary]) {
      const answer = await post(url, path, JSON.stringify(body), { 'content-type': 'application/json' })
      expect(answer.status).toBe(422)
      expect(answer.text).not.toContain('canary')
      expect(answer.text.length).toBeLessThan(500)
    }
  })
})

describe.skipIf(skipWithoutAnvil)('a body', () => {
  const raw = (path: string, body: string | Uint8Array, type = 'application/json') =>
    ask(url, path, { method: 'POST', body, headers: { 'content-type': type } })

  it.each(PATHS)('that is no JSON, of another type, or of none: POST %s', async (path) => {
    const text = JSON.stringify(bodies[path])
    for (const body of ['{', `${text}}`, `${text},`, text.slice(0, -1), `'${text}'`, 'NaN', `\ufeff${text}`])
      expect(await raw(path, body), body.slice(0, 10)).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
    expect(await raw(path, '')).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
    expectRefusal(await raw(path, new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])))
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'x'])
      expect(await raw(path, text, type)).toMatchObject({ status: 415, json: { code: 'MEDIA_TYPE' } })
    expect((await raw(path, text, 'application/json; charset=utf-8')).status).toBe(200)
  })

  it.each(PATHS)('that is too large, has too many values, or is too deep: POST %s', async (path) => {
    const text = JSON.stringify(bodies[path])
    const large = `${text.slice(0, -1)},"more":"${'0'.repeat(2_100_000)}"}`
    expect(await raw(path, large)).toMatchObject({ status: 413, json: { code: 'BODY_TOO_LARGE' } })
    const many = `${text.slice(0, -1)},"more":[${'0,'.repeat(200_001)}0]}`
    // What operators ask for is lists of keys, and shorter than this.
    const code = path === '/signatures' ? 'BODY_INVALID' : 'BODY_TOO_LARGE'
    expect(await raw(path, many)).toMatchObject({ json: { code } })
    const deep = `${text.slice(0, -1)},"more":${'['.repeat(150_000)}${']'.repeat(150_000)}}`
    expect((await raw(path, deep)).status).toBeLessThan(500)
    expectRefusal(await raw(path, `${'['.repeat(150_000)}${']'.repeat(150_000)}`))
  })

  it.each(PATHS)('whose fields are those of a prototype: POST %s', async (path) => {
    const text = JSON.stringify(bodies[path])
    for (const name of ['__proto__', 'constructor', 'prototype'])
      expect(await raw(path, `{"${name}":${text}}`)).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
    expect((await raw(path, `{"__proto__":{"vault":1,"toString":1},${text.slice(1)}`)).status).toBe(200)
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  it('of two fields of one name is what its last one says', async () => {
    const [open, close] = ['{"vault":"0x00",', JSON.stringify(bodies['/withdraw']).slice(1)]
    expect((await raw('/withdraw', open + close)).status).toBe(200)
  })
})

/** As many as a request may have; the amount of the last is refused after their number and indexes. */
const twoAndOneGwei = [32 * ETH, 32 * ETH, 1]
const lastIndexes = (first: number) => ({ validators_start_index: first, amounts: twoAndOneGwei })

describe.skipIf(skipWithoutAnvil)('what a registration cannot be', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['an index that is used', { validators_start_index: 0 }, 'INDEX_USED'],
    ['an index no chain has', { validators_start_index: 2 ** 40 }, 'INDEX_INVALID'],
    ['the largest index', { validators_start_index: Number.MAX_SAFE_INTEGER }, 'INDEX_INVALID'],
    ['one Gwei', { amounts: [1] }, 'AMOUNT_INVALID'],
    ['less than 32 ETH', { amounts: [32 * ETH - 1] }, 'AMOUNT_INVALID'],
    ['more than 32 ETH of type 0x01', { amounts: [32 * ETH + 1] }, 'AMOUNT_INVALID'],
    ['more than 2048 ETH', { amounts: [2048 * ETH + 1], validator_type: '0x02' }, 'AMOUNT_INVALID'],
    ['an amount in Wei', { amounts: [Number.MAX_SAFE_INTEGER], validator_type: '0x02' }, 'AMOUNT_INVALID'],
    ['a good amount and a bad one', { amounts: [32 * ETH, 31 * ETH] }, 'AMOUNT_INVALID'],
    ['more than MAX_KEYS_PER_REQUEST', { amounts: Array(4).fill(32 * ETH) }, 'TOO_MANY_KEYS'],
    ['as many, of a bad amount', { amounts: twoAndOneGwei }, 'AMOUNT_INVALID'],
    ['the last indexes there are, of a bad amount', lastIndexes(2 ** 40 - 3), 'AMOUNT_INVALID'],
    ['one more than the last', lastIndexes(2 ** 40 - 2), 'INDEX_INVALID'],
    ['another type', { validator_type: '0x03' }, 'BODY_INVALID'],
    ['a type without 0x', { validator_type: '01' }, 'BODY_INVALID'],
    ['a type as a number', { validator_type: 1 }, 'BODY_INVALID'],
    ['a vault with a wrong checksum', { vault: `0x${'aB'.repeat(20)}` }, 'VAULT_INVALID'],
    ['a vault of 21 bytes', { vault: `0x${'11'.repeat(21)}` }, 'BODY_INVALID'],
  ])('%s', async (_, change, code) => {
    const answer = await post(url, '/register', { ...bodies['/register'], ...change })
    expect(answer).toMatchObject({ status: 422, json: { code } })
    expectRefusal(answer)
  })
})

describe.skipIf(skipWithoutAnvil)('another method, or a slash at the end', () => {
  const byPath = Map.groupBy(Object.values(routes), ({ path }) => path)

  it.each([...byPath.keys()])('%s', async (path) => {
    const methods = (byPath.get(path) ?? []).map(({ method }) => method as string)
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].filter((one) => !methods.includes(one))) {
      const answer = await ask(url, path, { method, ...(method === 'GET' ? {} : { body: bodies[path] ?? {} }) })
      expect(answer, method).toMatchObject({ status: 405, json: { code: 'METHOD_NOT_ALLOWED' } })
      expect(answer.headers.get('allow')?.split(', ').toSorted()).toEqual(methods.toSorted())
      expectRefusal(answer)
    }
    for (const method of path === '/' ? [] : methods) {
      const answer = await ask(url, `${path}/?a=b`, {
        method,
        ...(method === 'GET' ? {} : { body: bodies[path] ?? {} }),
      })
      expect(answer.status).toBe(307)
      expect(answer.headers.get('location')).toBe(`${path}?a=b`)
    }
  })
})
