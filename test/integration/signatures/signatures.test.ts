/**
 * `POST /signatures`: exit and deposit signatures of sidecars 2.0 and 2.1, good, bad and hostile ones (docs/protocol.md#9-generation-4).
 */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { nextIndex, registerUntilReady } from '../../support/operator/operator.ts'
import { createRelayerDatabase, type TestDatabase } from '../../support/services/postgres.ts'
import { ETH32, keysOf, registerKeys } from '../../support/stages/registrations.ts'
import {
  assertOraclesCanExit,
  getExits,
  getValidators,
  type KeyedValidator,
  type PostedPair,
  partialDeposit,
  postPairs,
  postValidators,
  sidecar2Round,
  signedPair,
} from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, hex } from '../../support/world/world.ts'

/** A relayer and the validators it hands out. */
interface Side {
  url: string
  validators: readonly KeyedValidator[]
}
let world: VaultWorld
let database: TestDatabase
let relayers: Awaited<ReturnType<VaultWorld['startRelayer']>>[] = []
/** Its validators are those of a lock; the last one is never handed out. */
let lock: Side
/** Its validators are listed: nobody knows their public key shares. */
let list: Side

beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2 })
  const cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 4,
    threshold: 3,
    validators: 40,
    network: world.network,
    withdrawalAddress: new Uint8Array(),
    feeRecipient: new Uint8Array(20).fill(1),
  })
  const listed = createTestKeys(20, { nodes: 4, threshold: 3 })
  const file = join(world.dir, 'listed.csv')
  await writeFile(file, keysOf(listed).join('\n'))
  database = await createRelayerDatabase()
  relayers = [
    await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile }),
    await world.startRelayer({ DATABASE_URL: database.url, PUBLIC_KEYS_FILE: file, SIGNATURE_THRESHOLD: '3' }),
  ]
  const [ofLock = '', ofList = ''] = relayers.map(({ url }) => url)
  lock = { url: ofLock, validators: cluster.validators }
  list = { url: ofList, validators: listed }
})
afterAll(async () => {
  for (const relayer of relayers) await relayer[Symbol.asyncDispose]()
  await database?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** Validators nobody has asked for yet, asked for by a vault of their own. */
async function take({ url, validators: all }: Side, count: number) {
  const vault = `0x${randomBytes(20).toString('hex')}`
  const amounts = Array<number>(count).fill(ETH32)
  const request = { vault, startIndex: nextIndex(world.beacon), amounts, type: '0x01' as const }
  const keys = await registerKeys(url, request)
  const validators = keys.flatMap((key) => all.find(({ publicKey }) => hex(publicKey) === key) ?? [])
  if (validators.length < count) throw new Error('too few keys are left')
  return { keys, validators, request, url }
}
const itemOf = async (url: string, key = '') =>
  (await getValidators(url)).find((item) => item.public_key === key) ?? fail()
const signed = async (url: string, validator: KeyedValidator | undefined, shareIndex: number): Promise<PostedPair> =>
  signedPair(
    world.network,
    validator ?? fail(),
    shareIndex,
    await itemOf(url, hex((validator ?? fail()).publicKey)),
    false,
  )
const failuresOf = ({ json }: { json: unknown }) =>
  ((json as SharesResponse).failures ?? []).map(({ index, code, kind }) => ({ index, code, kind }))

describe.skipIf(skipWithoutAnvil)('public key shares that come along', () => {
  const share = { share_index: 1, public_key_share: `0x${'ab'.repeat(48)}` }
  it.each([
    ['left out, as by sidecar 2.0', undefined],
    ['null', null],
    ['none', []],
    ['no points', [share, { ...share, share_index: 2 }]],
    ['no hex', [{ share_index: 1, public_key_share: 'zz' }]],
    ['of share index 0', [{ ...share, share_index: 0 }]],
    ['of a share index that is no whole number', [{ ...share, share_index: 1.5 }]],
    ['of a share index beyond all', [{ ...share, share_index: 2 ** 53 }]],
    ['of one share index twice', [share, share]],
    ['of a node alone', [share]],
  ])('%s refuse nothing', async (_, public_key_shares) => {
    for (const side of [lock, list]) {
      const { url, validators } = await take(side, 1)
      const pair = await signed(url, validators[0], 1)
      const body = public_key_shares === undefined ? pair : { ...pair, public_key_shares }
      expect(await postPairs(url, 1, [body])).toMatchObject({ status: 200, text: '{}' })
    }
  })

  it('of a wrong type are no body', async () => {
    const { validators, url } = await take(lock, 1)
    const pair = await signed(url, validators[0], 1)
    for (const public_key_shares of ['text', 1, {}, [1], [{ share_index: '1', public_key_share: 'x' }]]) {
      const answer = await ask(url, '/signatures', {
        body: { share_index: 1, shares: [{ ...pair, public_key_shares }] },
      })
      expect(answer).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
    }
  })

  it('of the lock’s own validators are not believed, whoever sends them', async () => {
    const { keys, validators, url } = await take(lock, 1)
    const [validator] = validators
    const [stranger] = createTestKeys(1, { nodes: 4, threshold: 3 })
    if (validator === undefined || stranger === undefined) throw new Error('no validator')
    // Everything fits together, but for the key.
    const pair = signedPair(
      world.network,
      { ...stranger, publicKey: validator.publicKey },
      1,
      await itemOf(url, keys[0]),
    )
    expect((await postPairs(url, 1, [pair])).status).toBe(422)
    expect(await postPairs(url, 1, [await signed(url, validator, 1)])).toMatchObject({ status: 200, text: '{}' })
    expect(await itemOf(url, keys[0])).toMatchObject({ share_indexes_ready: [1], share_indexes_rejected: [] })
  })
})

describe.skipIf(skipWithoutAnvil)('of one post', () => {
  it('the good items count, and the others are named', async () => {
    const { keys, validators, url } = await take(lock, 6)
    const pairs = await Promise.all(validators.map((validator) => signed(url, validator, 2)))
    const [good, noKey, exitMalformed, depositWrong, swapped, noPoint] = pairs.map((pair) => pair ?? fail())
    if (!good || !noKey || !exitMalformed || !depositWrong || !swapped || !noPoint) throw new Error('too few')
    const item = await itemOf(url, keys[3])
    const otherAmount = partialDeposit(world.network, validators[3] ?? fail(), 2, { ...item, amount: ETH32 + 1 })
    const unknown = { ...good, public_key: `0x${'ab'.repeat(48)}` }
    const answer = await postPairs(url, 2, [
      good,
      { ...noKey, public_key: '0x1234' },
      { ...exitMalformed, exit_signature: 'zz' },
      { ...depositWrong, deposit_signature: otherAmount },
      { ...swapped, exit_signature: swapped.deposit_signature, deposit_signature: swapped.exit_signature },
      unknown,
      { ...noPoint, deposit_signature: `0xc0${'00'.repeat(95)}` },
    ])
    expect(answer.status).toBe(200)
    expect(failuresOf(answer)).toEqual([
      { index: 1, code: 'PUBLIC_KEY_INVALID', kind: undefined },
      { index: 2, code: 'SIGNATURE_MALFORMED', kind: 'exit' },
      { index: 3, code: 'SIGNATURE_WRONG', kind: 'deposit' },
      { index: 4, code: 'SIGNATURE_WRONG', kind: 'exit' },
      { index: 4, code: 'SIGNATURE_WRONG', kind: 'deposit' },
      { index: 6, code: expect.stringMatching(/^SIGNATURE_/), kind: 'deposit' },
    ])
    const states = await Promise.all(keys.map(async (key) => (await itemOf(url, key)).share_indexes_ready))
    expect(states).toEqual([[2], [], [], [], [], []])
    // The right halves are in: the missing ones alone complete them.
    expect(failuresOf(await postPairs(url, 2, [noKey, exitMalformed, depositWrong, swapped, noPoint]))).toEqual([])
    for (const key of keys)
      expect(await itemOf(url, key)).toMatchObject({ share_indexes_ready: [2], share_indexes_rejected: [] })
  })

  it('a good exit beside a wrong deposit is good', async () => {
    const { keys, validators, url } = await take(lock, 1)
    const pair = await signed(url, validators[0], 3)
    const answer = await postPairs(url, 3, [{ ...pair, deposit_signature: pair.exit_signature }])
    expect(answer.status).toBe(200)
    expect(failuresOf(answer)).toEqual([{ index: 0, code: 'SIGNATURE_WRONG', kind: 'deposit' }])
    expect(await itemOf(url, keys[0])).toMatchObject({ share_indexes_ready: [], share_indexes_rejected: [3] })
    expect((await getExits(url)).find(({ public_key }) => public_key === keys[0])?.share_indexes_ready).toEqual([3])
    // The same once more is answered the same.
    expect((await postPairs(url, 3, [{ ...pair, deposit_signature: pair.exit_signature }])).status).toBe(200)
  })

  it('a good deposit beside a wrong exit is good', async () => {
    const { keys, validators, url } = await take(lock, 1)
    const pair = await signed(url, validators[0], 3)
    const answer = await postPairs(url, 3, [{ ...pair, exit_signature: pair.deposit_signature }])
    expect(answer.status).toBe(200)
    expect(failuresOf(answer)).toEqual([{ index: 0, code: 'SIGNATURE_WRONG', kind: 'exit' }])
    expect(await itemOf(url, keys[0])).toMatchObject({ share_indexes_ready: [], share_indexes_rejected: [3] })
    expect(failuresOf(await postPairs(url, 3, [pair]))).toEqual([])
    expect(await itemOf(url, keys[0])).toMatchObject({ share_indexes_ready: [3], share_indexes_rejected: [] })
  })

  it('nothing but wrong signatures of known validators is refused', async () => {
    const { validators, url } = await take(lock, 2)
    const [first, second] = await Promise.all(validators.map((validator) => signed(url, validator, 1)))
    if (!first || !second) throw new Error('too few')
    const [a, b] = [
      { ...first, exit_signature: first.deposit_signature, deposit_signature: first.exit_signature },
      { ...second, exit_signature: first.exit_signature, deposit_signature: first.deposit_signature },
    ]
    const unknown = { ...first, public_key: `0x${'ab'.repeat(48)}` }
    for (const posted of [[a], [a, b], [unknown, a], [a]]) {
      const answer = await postPairs(url, 1, posted)
      expect(answer).toMatchObject({ status: 422, json: { code: 'SHARES_WRONG', request_id: expect.any(String) } })
      expect(failuresOf(answer).every(({ code }) => code === 'SIGNATURE_WRONG')).toBe(true)
      expect(failuresOf(answer)).toHaveLength(posted.filter((item) => item !== unknown).length * 2)
    }
    expect((await postPairs(url, 1, [a, b, second])).status).toBe(200)
  })

  it('unknown validators are skipped, and nothing at all is fine', async () => {
    const { validators, url } = await take(lock, 1)
    const pair = await signed(url, validators[0], 1)
    const unknown = { ...pair, public_key: `0x${'ab'.repeat(48)}` }
    expect(await postPairs(url, 1, [unknown])).toMatchObject({ status: 200, text: '{}' })
    expect(await postPairs(url, 1, [])).toMatchObject({ status: 200, text: '{}' })
  })

  it('the exit counts where there is no deposit to sign', async () => {
    const { url, validators } = lock
    const validator = validators.at(-1) ?? fail()
    const key = hex(validator.publicKey)
    expect((await postValidators(url, [key])).status).toBe(200)
    const exit = (await getExits(url)).find(({ public_key }) => public_key === key) ?? fail()
    const deposit = { vault: `0x${'77'.repeat(20)}`, amount: ETH32, validator_type: '0x01' as const }
    const pair = signedPair(world.network, validator, 4, { ...deposit, validator_index: exit.validator_index })
    expect(await postPairs(url, 4, [pair])).toMatchObject({ status: 200, text: '{}' })
    expect((await getExits(url)).find(({ public_key }) => public_key === key)?.share_indexes_ready).toEqual([4])
    expect((await getValidators(url)).some(({ public_key }) => public_key === key)).toBe(false)
  })
})

describe.skipIf(skipWithoutAnvil)('a share index', () => {
  it('may be any up to 2^53 − 1; one the cluster has not is wrong there only', async () => {
    const { validators, url } = await take(lock, 1)
    const pair = await signed(url, validators[0], 1)
    const most = Number.MAX_SAFE_INTEGER
    const answer = await postPairs(url, most, [pair])
    expect(answer.status).toBe(422)
    expect(failuresOf(answer)).toEqual([
      { index: 0, code: 'SHARE_INDEX_UNKNOWN', kind: 'exit' },
      { index: 0, code: 'SHARE_INDEX_UNKNOWN', kind: 'deposit' },
    ])
    const free = await take(list, 1)
    expect((await postPairs(free.url, most, [await signed(free.url, free.validators[0], 1)])).status).toBe(200)
    expect(await itemOf(free.url, free.keys[0])).toMatchObject({ share_indexes_unverified: [most] })
    for (const index of ['9007199254740992', '0', '-1', '1.5', '"1"', 'null', '1e300']) {
      const body = `{"share_index":${index},"shares":${JSON.stringify([pair])}}`
      const refused = await ask(url, '/signatures', { body, method: 'POST' })
      expect(refused, index).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
    }
  })
})

describe.skipIf(skipWithoutAnvil)('the same bytes again', () => {
  it.each([
    ['known to be right', () => lock, { share_indexes_ready: [1] }],
    ['that nobody can judge yet', () => list, { share_indexes_unverified: [1] }],
  ])('%s are answered with 2xx, change nothing and are not looked at again', async (_, side, shown) => {
    const { keys, validators, url } = await take(side(), 3)
    const pairs = await Promise.all(validators.map((validator) => signed(url, validator, 1)))
    const counted = async () =>
      (await (await fetch(`${url}/metrics`)).text()).match(/^dvt_relayer_partial_signatures_total.*$/gm)
    const before = await counted()
    expect(await postPairs(url, 1, pairs)).toMatchObject({ status: 200, text: '{}' })
    const after = await counted()
    expect(after).not.toEqual(before)
    const listed = (await ask(url, '/validators')).text
    for (let times = 0; times < 3; times++)
      expect(await postPairs(url, 1, pairs)).toMatchObject({ status: 200, text: '{}' })
    expect(await counted()).toEqual(after)
    expect((await ask(url, '/validators')).text).toBe(listed)
    expect(await itemOf(url, keys[0])).toMatchObject(shown)
  })
})

describe.skipIf(skipWithoutAnvil)('a validator whose public key shares nobody knows', () => {
  /** Public key shares that fit the validator key as well as the true ones do: P_i = P + (a·i + b·i²)·G. */
  function lyingHints({ publicKey }: KeyedValidator) {
    const key = bls12_381.G1.Point.fromBytes(publicKey)
    return [1n, 2n, 3n, 4n].map((i) => ({
      share_index: Number(i),
      public_key_share: toHex(key.add(bls12_381.G1.Point.BASE.multiply(123n * i + 45n * i * i)).toBytes()),
    }))
  }

  it.each([
    ['with', true],
    ['without', false],
  ])('is recovered past a liar that posts first, %s hints of the others', async (_, withHints) => {
    const { keys, validators, request, url } = await take(list, 1)
    const [key = ''] = keys
    const validator = validators[0] ?? fail()
    const [stranger] = createTestKeys(1, { nodes: 4, threshold: 3 })
    const item = await itemOf(url, key)
    const forged = signedPair(
      world.network,
      { ...(stranger ?? fail()), publicKey: validator.publicKey },
      2,
      item,
      false,
    )
    const lie = { ...forged, public_key_shares: lyingHints(validator) }
    // Nothing tells that it is wrong yet.
    expect(await postPairs(url, 2, [lie])).toMatchObject({ status: 200, text: '{}' })
    for (const shareIndex of [1, 3]) await sidecar2Round(url, world.network, validators, shareIndex, { withHints })
    expect(await itemOf(url, key)).toMatchObject({ share_indexes_ready: [], share_indexes_unverified: [1, 2, 3] })
    await sidecar2Round(url, world.network, validators, 4, { withHints })
    const done = await registerUntilReady(url, request)
    expect(done.validators.map(({ public_key }) => public_key)).toEqual([key])
    expect(await itemOf(url, key)).toMatchObject({
      is_signatures_ready: true,
      share_indexes_ready: [1, 3, 4],
      share_indexes_rejected: [2],
    })
    const shares = done.validators[0]?.oracles_exit_signature_shares ?? null
    await assertOraclesCanExit(world.network, world.oracles, 2, validator.publicKey, item.validator_index, shares)
    // Its true signatures still count.
    expect((await sidecar2Round(url, world.network, validators, 2, { withHints }))?.status).toBe(200)
  })
})

/** For places that the types cannot know to be there. */
function fail(): never {
  throw new Error('not there')
}
