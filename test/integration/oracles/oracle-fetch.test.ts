/** Oracles fetch their shares: what they get is theirs and true, in order, without gaps, and the newest there is. */

import { createRelayerClient } from '@dvt-relayer/api/client.ts'
import { type ExitShareItem, OracleSharesResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { addressOfPublicKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { findShareSet } from '@dvt-relayer/db/queries/oracle-fetch.ts'
import { completeRotations } from '@dvt-relayer/db/queries/rotations.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { sql } from 'drizzle-orm'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { createBeaconStatus } from '../../../apps/relayer/src/services/beacon-status/beacon-status.ts'
import { createOracleFetch } from '../../../apps/relayer/src/services/oracles/fetch.ts'
import { createOracleSets } from '../../../apps/relayer/src/services/oracles/sets.ts'
import { showRenewed } from '../../../apps/relayer/src/services/oracles/show-again.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { makeOracles, type TestOracle } from '../../support/chain/oracles.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { expectRefusal } from '../../support/mutations.ts'
import {
  addressOf,
  askShares,
  canExit,
  fetchShares,
  openShare,
  pathOf,
  walkShares,
} from '../../support/stages/oracle-fetch.ts'
import { credentials, openStore } from '../../support/stages/registered.ts'
import { getExits, postValidators, sidecarRound, untilOracleSet, untilShares } from '../../support/world/nodes.ts'
import { ask, eventually, hex, startWorld, type World } from '../../support/world/world.ts'

const VAULT = new Uint8Array(20).fill(0x55)
let world: World
let relayer: Relayer
let url: string
let oracles: readonly [TestOracle, TestOracle, TestOracle]
const query: World['query'] = (text, values) => world.query(text, values)

/** New validators, asked for and signed; `untilShares` waits until they are split. */
async function makeExits(count: number, headers: Record<string, string> = {}) {
  const validators = createTestKeys(count, { nodes: 1, threshold: 1 })
  const keys: string[] = validators.map(({ publicKey }) => hex(publicKey))
  expect((await postValidators(url, keys, headers)).status).toBe(200)
  await sidecarRound(url, world.network, validators, 1)
  return keys
}
const makeReady = async (count: number) => {
  const keys = await makeExits(count)
  return { keys, answer: await untilShares(url, keys) }
}

beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  oracles = world.oracles as typeof oracles
  relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '1' })
  url = relayer.url
  await untilOracleSet(url)
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

describe('an oracle', () => {
  it('gets its own shares, by whatever name it asks, and can exit with enough others', async () => {
    const { keys, answer } = await makeReady(2)
    const pages = await Promise.all(oracles.map((oracle) => walkShares(url, addressOf(oracle), { limit: 1 })))
    for (const [position, { items }] of pages.entries()) {
      expect(items.map(({ public_key }) => public_key).toSorted()).toEqual(keys.toSorted())
      for (const item of items) {
        const handed = answer.validators.find(({ public_key }) => public_key === item.public_key)
        expect(item).toMatchObject({
          public_key_share: handed?.oracles_exit_signature_shares?.public_keys[position],
          encrypted_exit_signature: handed?.oracles_exit_signature_shares?.encrypted_exit_signatures[position],
          receipt: handed?.receipt,
          oracle_set: { threshold: 2, oracles: 3, place: position + 1 },
          epoch: world.network.capellaEpoch,
          vault: null,
          is_outdated: false,
        })
      }
    }
    const [a, b, c] = oracles
    for (const key of keys) {
      const held = [a, b, c].map((oracle, position) => {
        const item = pages[position]?.items.find(({ public_key }) => public_key === key)
        if (item === undefined) throw new Error('no item')
        return { oracle, item }
      })
      expect(canExit(world.network, held.slice(0, 2))).toBe(true)
      expect(canExit(world.network, held.slice(1))).toBe(true)
      expect(canExit(world.network, held.slice(0, 1))).toBe(false)
      expect(() => openShare(world.network, b, held[0]?.item as never)).toThrow()
    }
    const whole = toHex(a.publicKey).slice(2)
    const compressed = toHex(secp256k1.getPublicKey(a.secretKey, true)).slice(2)
    const address = addressOf(a)
    const expected = await fetchShares(url, address)
    for (const name of [whole, whole.slice(2), compressed, address.slice(2), address.toLowerCase()])
      for (const spelling of [name, `0x${name}`.replace('0x0x', '0x'), name.replace('0x', '').toUpperCase()])
        expect(await fetchShares(url, spelling), spelling).toEqual(expected)
  })

  it('asks by validator and by vault', async () => {
    const { keys } = await makeReady(2)
    const [key = '', other = ''] = keys
    const vault = new Uint8Array(20).fill(0xab)
    await query(`update validators set withdrawal_address = $1 where public_key = $2`, [
      Buffer.from(vault),
      Buffer.from(fromHex(key)),
    ])
    const address = addressOf(oracles[0])
    const one = await fetchShares(url, address, { public_key: key.toUpperCase().replace('0X', '') })
    expect(one.exit_shares).toMatchObject([{ public_key: key, vault: checksumAddress(vault) }])
    for (const spelling of [toHex(vault), toHex(vault).slice(2).toUpperCase(), checksumAddress(vault)])
      expect((await fetchShares(url, address, { vault: spelling })).exit_shares).toEqual(one.exit_shares)
    expect((await fetchShares(url, address, { vault: toHex(vault), public_key: other })).exit_shares).toEqual([])
    expect((await fetchShares(url, address, { public_key: other })).exit_shares).toMatchObject([{ vault: null }])
    expect((await fetchShares(url, address, { public_key: `0x${'11'.repeat(48)}` })).exit_shares).toEqual([])
  })

  it('is given the next page by any process, and never an item twice', async () => {
    await makeReady(3)
    await using second = await world.startRelayer({ SIGNATURE_THRESHOLD: '1', ROLE: 'api' })
    const address = addressOf(oracles[1])
    const all = (await walkShares(url, address, { limit: 1000 })).items
    for (const limit of [1, 2, 1000]) {
      const items: unknown[] = []
      let cursor: string | undefined
      for (let turn = 0; ; turn++) {
        const page = await fetchShares(turn % 2 === 0 ? url : second.url, address, {
          limit,
          ...(cursor === undefined ? {} : { after: cursor }),
        })
        expect(page.exit_shares.length).toBeLessThanOrEqual(limit)
        if (page.exit_shares.length === 0) {
          expect(page.cursor).toBe(cursor)
          break
        }
        items.push(...page.exit_shares)
        cursor = page.cursor
      }
      expect(items).toEqual(all)
    }
    // A cursor of a database that has gone further than this one: everything is new.
    const future = `${Number.MAX_SAFE_INTEGER}.0.0`
    expect((await fetchShares(url, address, { after: future, limit: 1000 })).exit_shares).toEqual(all)
  })

  it('misses nothing that is stored while it walks', async () => {
    const address = addressOf(oracles[2])
    const start = (await walkShares(url, address)).cursor
    const seen: string[] = []
    let isDone = false
    const reader = (async () => {
      for (let cursor = start; ; ) {
        const last = isDone
        const page = await fetchShares(url, address, { after: cursor, limit: 3, wait: last ? 0 : 1 })
        seen.push(...page.exit_shares.map(({ public_key }) => public_key))
        cursor = page.cursor
        if (last && page.exit_shares.length === 0) return
      }
    })()
    const keys = (await Promise.all([12, 1, 9, 5, 14].map((count) => makeReady(count)))).flatMap((made) => made.keys)
    isDone = true
    await reader
    expect(seen.toSorted()).toEqual(keys.toSorted())
  })

  it('waits for what comes, and is answered at once when it does', async () => {
    const address = addressOf(oracles[0])
    const { cursor } = await walkShares(url, address)
    const started = performance.now()
    const waiting = [
      fetchShares(url, address, { after: cursor, wait: 25 }),
      fetchShares(url, address, { after: cursor, wait: 25, vault: `0x${'77'.repeat(20)}` }),
    ]
    const { keys } = await makeReady(1)
    expect((await waiting[0])?.exit_shares).toMatchObject([{ public_key: keys[0] }])
    // What it asked for did not come: it still waits, until its vault is known.
    await query(`update validators set withdrawal_address = $1 where public_key = $2`, [
      Buffer.alloc(20, 0x77),
      Buffer.from(fromHex(keys[0] ?? '')),
    ])
    await makeReady(1)
    expect((await waiting[1])?.exit_shares).toMatchObject([{ public_key: keys[0] }])
    expect(performance.now() - started).toBeLessThan(20_000)
    const { cursor: end } = await walkShares(url, address)
    expect(await fetchShares(url, address, { after: end, wait: 0 })).toEqual({ exit_shares: [], cursor: end })
    const answer = await askShares(url, address, { after: end, wait: 1 })
    expect(answer).toMatchObject({ status: 200, json: { exit_shares: [], cursor: end } })
  })

  it('waits with sixteen requests at most: one more is answered at once', async () => {
    const { cursor } = await walkShares(url, addressOf(oracles[0]))
    const query = { after: cursor, wait: 25 }
    const all = Array.from({ length: 17 }, () => fetchShares(url, addressOf(oracles[0]), query))
    expect(await Promise.race(all)).toEqual({ exit_shares: [], cursor })
    await makeReady(1)
    const found = await Promise.all(all)
    expect(found.filter(({ exit_shares: items }) => items.length === 1)).toHaveLength(16)
    // Those that were answered wait no more.
    const { cursor: end } = await walkShares(url, addressOf(oracles[0]))
    const again = fetchShares(url, addressOf(oracles[0]), { after: end, wait: 25 })
    await makeReady(1)
    expect((await again).exit_shares).toHaveLength(1)
  })

  it('is answered when the process stops', async () => {
    const second = await world.startRelayer({ SIGNATURE_THRESHOLD: '1', ROLE: 'api' })
    const address = addressOf(oracles[0])
    const { cursor } = await walkShares(url, address)
    const waiting = fetchShares(second.url, address, { after: cursor, wait: 25 })
    await eventually('a request under way', async () =>
      (await ask(second.url, '/metrics')).text.includes('dvt_relayer_http_requests_total') ? true : undefined,
    )
    await second[Symbol.asyncDispose]()
    expect(await waiting).toEqual({ exit_shares: [], cursor })
  })

  it('is no oracle', async () => {
    const stranger = addressOf(makeOracles(1)[0] as TestOracle)
    const answer = await askShares(url, stranger)
    expect(answer).toMatchObject({ status: 404, json: { code: 'ORACLE_UNKNOWN' } })
    expectRefusal(answer)
  })
})

describe('the share set of a validator', () => {
  it('is whole, and has the receipt that everybody can make', async () => {
    const { keys, answer } = await makeReady(1)
    const [key = ''] = keys
    const [item] = answer.validators
    const found = await ask(url, `/validators/${key.slice(2).toUpperCase()}/oracle-shares`)
    expect(found.status).toBe(200)
    expect(Compile(OracleSharesResponse).Check(found.json)).toBe(true)
    const set = found.json as OracleSharesResponse
    const { cid } = (await query<{ cid: string }>('select cid from oracle_sets where is_current'))[0] ?? { cid: '' }
    expect(set).toMatchObject({
      public_key: key,
      vault: null,
      oracle_set: { cid, threshold: 2, is_current: true },
      oracles: oracles.map(addressOf),
      oracle_public_keys: oracles.map(({ publicKey }) => toHex(publicKey)),
      ...item?.oracles_exit_signature_shares,
      receipt: item?.receipt,
    })
    const { validator_index: validatorIndex, epoch } = set
    expect(set.validator_index).toBe((await getExits(url)).find((exit) => exit.public_key === key)?.validator_index)
    const receipt = shareReceipt({
      publicKey: fromHex(key),
      epoch,
      validatorIndex,
      signingRoot: exitSigningRoot(world.network, { epoch, validatorIndex }),
      threshold: set.oracle_set.threshold,
      oracles: set.oracle_public_keys.map((text) => fromHex(text)),
      publicKeyShares: set.public_keys.map((text) => fromHex(text)),
      ciphertexts: set.encrypted_exit_signatures.map((text) => fromHex(text)),
    })
    expect(toHex(receipt)).toBe(set.receipt)
  })

  it('is not there for a key of nobody, and not yet for one that is being signed', async () => {
    const [validator] = createTestKeys(1, { nodes: 1, threshold: 1 })
    const key = hex(validator?.publicKey ?? new Uint8Array())
    const missing = { status: 404, json: { code: 'ORACLE_SHARES_MISSING' } }
    expect(await ask(url, `/validators/${key}/oracle-shares`)).toMatchObject(missing)
    await postValidators(url, [key])
    expect(await ask(url, `/validators/${key}/oracle-shares`)).toMatchObject(missing)
  })
})

describe('an answer that the client has', () => {
  it.each([
    ['the shares of an oracle', () => pathOf(addressOf(oracles[0]))],
    ['the share set of a validator', async () => `/validators/${(await makeReady(1)).keys[0]}/oracle-shares`],
  ])('is not sent again: %s', async (_, makePath) => {
    const path = await makePath()
    const first = await ask(url, path)
    const tag = first.headers.get('etag') ?? ''
    expect(tag).toMatch(/^"[\w-]{43}"$/)
    expect(first.headers.get('cache-control')).toBe('private, no-cache')
    for (const field of [tag, `W/${tag}`, `"a", ${tag}`, '*']) {
      const again = await ask(url, path, { headers: { 'if-none-match': field } })
      expect([field, again.status, again.text, again.headers.get('etag')]).toEqual([field, 304, '', tag])
    }
    for (const field of ['"a"', tag.slice(1, -1), `${tag.slice(0, -1)}x"`]) {
      const again = await ask(url, path, { headers: { 'if-none-match': field } })
      expect([field, again.status, again.text]).toEqual([field, 200, first.text])
    }
    expect(
      (await ask(url, `${path.replace(/0x.{8}/, `0x${'ff'.repeat(4)}`)}`, { headers: { 'if-none-match': '*' } }))
        .status,
    ).toBeGreaterThan(399)
  })

  it('is another one once something came', async () => {
    const path = pathOf(addressOf(oracles[0]), { limit: 1000 })
    const tag = (await ask(url, path)).headers.get('etag') ?? ''
    await makeReady(1)
    const again = await ask(url, path, { headers: { 'if-none-match': tag } })
    expect(again.status).toBe(200)
    expect(again.headers.get('etag')).not.toBe(tag)
  })
})

describe('what is asked wrongly', () => {
  const good = () => ({
    vault: `0x${'11'.repeat(20)}`,
    public_key: `0x${'22'.repeat(48)}`,
    after: '1.2.3',
    limit: '5',
    wait: '0',
  })
  const wrong: Record<string, string[]> = {
    vault: ['', '0x', '0x11', `0x${'11'.repeat(21)}`, `0x${'1g'.repeat(20)}`, `0x${'aB'.repeat(20)}`, 'null'],
    public_key: ['', '0x', `0x${'22'.repeat(47)}`, `0x${'22'.repeat(49)}`, `0x${'2g'.repeat(48)}`, '1'],
    after: [
      '',
      '1',
      '1.2',
      '1.2.3.4',
      '-1.2.3',
      '1.2.x',
      '1.2.3 ',
      '9007199254740992.0.0',
      '99999999999999999.0.0',
      '1e3.0.0',
    ],
    limit: ['', '0', '-1', '1001', '1.5', '1e2', '0x5', '01', 'all', ' 5'],
    wait: ['', '-1', '26', '60', '1.5', '01', 'yes', '1e1'],
  }

  it('is refused, one parameter at a time', async () => {
    const address = addressOf(oracles[0])
    expect((await askShares(url, address, good())).status).toBe(200)
    for (const [name, values] of Object.entries(wrong))
      for (const value of values) {
        const answer = await askShares(url, address, { ...good(), [name]: value })
        expect(answer, `${name}=${value}`).toMatchObject({ status: 422 })
        expect((answer.json as { code: string }).code, `${name}=${value}`).toMatch(/^(QUERY|VAULT)_INVALID$/)
        expectRefusal(answer)
      }
    for (const more of ['&limit=6', '&vault[]=1', '&vaults=1', '&=1', '&__proto__=1', '&public_key=1']) {
      const answer = await ask(url, `${pathOf(address, good())}${more}`)
      expect(answer, more).toMatchObject({ status: 422, json: { code: 'QUERY_INVALID' } })
      expectRefusal(answer)
    }
  })

  it('is refused, as an oracle', async () => {
    const whole = toHex(oracles[0].publicKey)
    const address = addressOf(oracles[0])
    const swapped = [...address].map((letter, position) =>
      position > 1 && /[a-f]/i.test(letter)
        ? letter === letter.toLowerCase()
          ? letter.toUpperCase()
          : letter.toLowerCase()
        : letter,
    )
    const names: [string, string][] = [
      ['0x', 'PATH_INVALID'],
      ['0x1', 'PATH_INVALID'],
      ['me', 'PATH_INVALID'],
      [`${address}0`, 'PATH_INVALID'],
      [address.slice(0, -1), 'PATH_INVALID'],
      [`${address.slice(0, -1)}g`, 'PATH_INVALID'],
      [`${whole}00`, 'PATH_INVALID'],
      [` ${address}`, 'PATH_INVALID'],
      ['%00', 'PATH_INVALID'],
      [swapped.join(''), 'ORACLE_INVALID'],
      [whole.replace('0x04', '0x05'), 'ORACLE_INVALID'],
      [`${whole.slice(0, -2)}${whole.endsWith('00') ? '01' : '00'}`, 'ORACLE_INVALID'],
      [`0x${'00'.repeat(64)}`, 'ORACLE_INVALID'],
      [`0x${'ff'.repeat(33)}`, 'ORACLE_INVALID'],
    ]
    for (const [name, code] of names) {
      const answer = await ask(url, `/oracles/${encodeURIComponent(name)}/exit-shares`.replace('%2500', '%00'))
      expect(answer, name).toMatchObject({ status: 422, json: { code } })
      expectRefusal(answer)
    }
    for (const name of ['', '/', `${'1'.repeat(201)}`, '%zz', '..'])
      expectRefusal(await ask(url, `/oracles/${name}/exit-shares`))
  })

  it('is refused, as a validator', async () => {
    for (const name of ['0x', '1', `0x${'22'.repeat(47)}`, `0x${'22'.repeat(49)}`, `0x${'2g'.repeat(48)}`, '%00']) {
      const answer = await ask(url, `/validators/${name}/oracle-shares`)
      expect(answer, name).toMatchObject({ status: 422, json: { code: 'PATH_INVALID' } })
      expectRefusal(answer)
    }
  })

  it('is told its methods, and redirected without its slash', async () => {
    for (const path of [pathOf(addressOf(oracles[0])), `/validators/0x${'22'.repeat(48)}/oracle-shares`]) {
      const answer = await ask(url, path, { method: 'POST', body: {} })
      expect(answer).toMatchObject({ status: 405, json: { code: 'METHOD_NOT_ALLOWED' } })
      expect(answer.headers.get('allow')).toBe('GET')
      const redirected = await ask(url, `${path}/?limit=1`)
      expect([redirected.status, redirected.headers.get('location')]).toEqual([307, `${path}?limit=1`])
    }
  })
})

describe('the typed client', () => {
  it('asks both routes', async () => {
    const { keys } = await makeReady(1)
    const api = createRelayerClient(async ({ method, path, query: asked }) => {
      const search = new URLSearchParams(asked).toString()
      return (await ask(url, search === '' ? path : `${path}?${search}`, { method })).json
    })
    const { signal } = new AbortController()
    const [key = ''] = keys
    const page = await api.getExitShares(addressOf(oracles[0]), { public_key: key, limit: '1' }, signal)
    expect(page.exit_shares).toMatchObject([{ public_key: key }])
    expect((await api.getOracleShares(key, signal)).receipt).toBe(page.exit_shares[0]?.receipt)
    await expect(api.getOracleShares(`0x${'11'.repeat(48)}`, signal)).rejects.toMatchObject({
      code: 'RELAYER_ANSWER_INVALID',
    })
  })
})

it('of several share sets of a validator the current one is told, of its exits the newest, and else the one that the chain has', async () => {
  const { db, adopt, addValidator, addExit, query: run } = await openStore(world)
  const [one, two] = [await addValidator(), await addValidator()]
  const [b, c] = [await adopt('b', 1), await adopt('c', 2)]
  const told = async ({ publicKey }: { publicKey: Uint8Array }) => {
    const { validatorIndex, cid } = (await findShareSet(db, publicKey))?.set ?? {}
    return [validatorIndex, cid]
  }
  for (const { id } of [one, two])
    await run(sql`update validators set registered_at = now(), beacon_index = 1, oracle_set_id = ${b} where id = ${id}`)
  await addExit(one.id, 1, [b], 'expired')
  await addExit(one.id, 2, [b], 'expired')
  expect(await told(one)).toEqual([2, 'b'])
  await addExit(one.id, 3, [c], 'expired')
  await addExit(one.id, 4, [c], 'expired')
  await addExit(one.id, 5, [b], 'expired')
  await addExit(one.id, 6, [c], 'superseded')
  expect(await told(one)).toEqual([4, 'c'])
  expect(await told(two)).toEqual([undefined, undefined])
})

describe('shares that a rotation has put on chain', () => {
  it('are told to their members also when their set was replaced before that was final', async () => {
    const { db, adopt, addValidator, addExit, query: run, noted } = await openStore(world)
    const vault = Buffer.alloc(20, 0x66)
    // The store numbers share sets by itself.
    await run(sql`select setval('message_revision', 1000)`)
    const [{ id, hex: key }, { id: later }] = [await addValidator(), await addValidator()]
    const b = await adopt('b', 1)
    const exit = await addExit(id, 1, [b])
    await run(
      sql`update validators set registered_at = now(), beacon_index = 1, beacon_vault = ${vault} where id = ${id}`,
    )
    await run(sql`with r as (insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash)
                  values (${vault}, ${b}, 0, 'open', 'b') returning id)
      insert into rotation_messages (rotation_id, place, message_id) select id, 0, ${exit} from r`)
    const c = await adopt('c', 2)
    await addExit(later, 2, [c])
    const fetch = createOracleFetch({ db })
    const request = { oracle: addressOfPublicKey(Buffer.alloc(65)), vault: undefined, publicKey: undefined, limit: 10 }
    const forever = new AbortController().signal
    const first = await fetch.fetch({ ...request, after: undefined }, 0, forever)
    expect(first.items).toMatchObject([{ oracle_set: { cid: 'c' } }])
    const settle = (ipfsHashes: readonly string[]) =>
      db.transaction(async (tx) => {
        const done = await completeRotations(tx, { vault, from: 0, to: 1, ipfsHashes })
        await showRenewed(tx, vault)
        return done
      })
    expect(await settle(['other'])).toBe(0)
    expect((await fetch.fetch({ ...request, after: first.cursor }, 0, forever)).items).toEqual([])
    expect(await settle(['b'])).toBe(1)
    expect(await noted(id)).toMatchObject({ set: b })
    const second = await fetch.fetch({ ...request, after: first.cursor }, 0, forever)
    expect(second.items).toMatchObject([{ public_key: key, oracle_set: { cid: 'b' }, is_outdated: true }])
    expect(await settle(['b'])).toBe(0)
    expect((await fetch.fetch({ ...request, after: second.cursor }, 0, forever)).items).toEqual([])
  })
})

/** Last: it changes the oracle set of this world. */
describe('when the oracle set changes', () => {
  it('hands out shares of the current set, and outdated ones of registered validators to their members', async () => {
    await using resources = new AsyncDisposableStack()
    const { config } = readConfig(world.environment({ SIGNATURE_THRESHOLD: '1' }))
    const db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
    const events = createEvents(silentLogger)
    const chain = createChain(config, resources.use(startCryptoPool(1)), events, silentLogger)
    const sets = createOracleSets({ db, chain, events })
    const announce = async (set: readonly TestOracle[], threshold: number) => {
      await world.announce(set, threshold)
      expect(await sets.follow()).toBeUndefined()
    }

    const [a, b, c] = oracles
    const [d] = makeOracles(1) as [TestOracle]
    const { keys } = await makeReady(2)
    const [key = '', other = ''] = keys
    const ofKey = async (oracle: TestOracle, more = {}) =>
      (await fetchShares(url, addressOf(oracle), { public_key: key, ...more })).exit_shares
    const untilSplit = (position: number, oracle: TestOracle) =>
      eventually('a new split', async () => {
        const items = await ofKey(oracle)
        return items.some((item) => item.oracle_set.place === position && !item.is_outdated) ? items : undefined
      })
    const pages = (await walkShares(url, addressOf(a))).items
    const first = pages.find(({ public_key }) => public_key === key)
    const cursors = new Map<TestOracle, string>()
    for (const oracle of oracles) cursors.set(oracle, (await walkShares(url, addressOf(oracle))).cursor)

    // A → B: a leaves, d comes, the threshold changes.
    await announce([d, b, c], 3)
    const fromD = await untilSplit(1, d)
    expect(fromD).toMatchObject([{ oracle_set: { place: 1, threshold: 3, oracles: 3 } }])
    expect(fromD[0]?.receipt).not.toBe(first?.receipt)
    expect(await ofKey(a)).toEqual([])
    expect((await askShares(url, addressOf(a))).status).toBe(200)
    const delivered = (await walkShares(url, addressOf(b), {}, cursors.get(b))).items
    expect(delivered.filter(({ public_key }) => public_key === key)).toMatchObject([{ oracle_set: { threshold: 3 } }])
    const held = await Promise.all(
      [d, b, c].map(async (oracle) => ({ oracle, item: (await ofKey(oracle))[0] as never })),
    )
    expect(canExit(world.network, held)).toBe(true)
    expect(canExit(world.network, [{ oracle: a, item: first as never }, ...held.slice(1)])).toBe(false)
    expect(await ask(url, `/validators/${key}/oracle-shares`)).toMatchObject({
      json: { oracle_set: { threshold: 3, is_current: true }, oracles: [d, b, c].map(addressOf) },
    })

    // The chain knows one validator by the shares of A: its members are told, also who had come further meanwhile.
    const end = (await walkShares(url, addressOf(b))).cursor
    const waiting = fetchShares(url, addressOf(a), { after: cursors.get(a) ?? '', wait: 25 })
    world.beacon.addValidator({ publicKey: fromHex(key), withdrawalCredentials: credentials(VAULT) })
    world.beacon.finalize()
    await createBeaconStatus({ db, chain, events }).look(AbortSignal.timeout(PATIENCE_MS))
    const outdated = { ...first, is_outdated: true, vault: checksumAddress(VAULT) }
    expect((await waiting).exit_shares).toEqual([outdated])
    expect(await ofKey(a)).toEqual([outdated])
    const again = (await walkShares(url, addressOf(b), { limit: 1 }, end)).items
    expect(again.map(({ public_key, is_outdated }) => [public_key, is_outdated])).toEqual([
      [key, true],
      [key, false],
    ])
    expect((await walkShares(url, addressOf(d), {}, end)).items.every(({ is_outdated }) => !is_outdated)).toBe(true)
    expect((await fetchShares(url, addressOf(a), { public_key: other })).exit_shares).toEqual([])

    // B → A again: a set of its own, with shares never seen before.
    const [before] = (await walkShares(url, addressOf(a), {}, '0.0.0')).items
    expect(before).toEqual(outdated)
    await announce([a, b, c], 2)
    const fresh = await eventually('a new split', async () => (await ofKey(a, { public_key: other }))[0])
    const oldest = pages.find(({ public_key }) => public_key === other)
    expect(fresh).toMatchObject({
      oracle_set: { cid: oldest?.oracle_set.cid, place: 1, threshold: 2 },
      is_outdated: false,
    })
    expect(fresh.encrypted_exit_signature).not.toBe(oldest?.encrypted_exit_signature)
    expect(fresh.public_key_share).not.toBe(oldest?.public_key_share)
    expect(await ofKey(d, { public_key: other })).toEqual([])
    const fromB = { oracle: b, item: (await ofKey(b, { public_key: other }))[0] as ExitShareItem }
    expect(canExit(world.network, [{ oracle: a, item: oldest as ExitShareItem }, fromB])).toBe(false)
    expect(canExit(world.network, [{ oracle: a, item: fresh }, fromB])).toBe(true)
    expect(await ofKey(a)).toContainEqual(outdated)

    // What is superseded is nobody's any more.
    await query(
      `update messages set state = 'superseded' where validator_id = (select id from validators where public_key = $1)`,
      [Buffer.from(fromHex(key))],
    )
    for (const oracle of [a, b, c]) expect(await ofKey(oracle)).toEqual([])
    expect((await ask(url, `/validators/${key}/oracle-shares`)).status).toBe(404)
  })
})
