/**
 * `charon exit sign` against a relayer with OBOL_API=on (docs/protocol.md#requests-of-stock-charon): requests that charon has sent, byte
 * for byte, and more of their kind. The relayer has tokens, and charon shows none.
 */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { ErrorResponse, Explanation } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { currentAccount } from '@dvt-relayer/common/account.ts'
import { addressOfSecretKey } from '@dvt-relayer/crypto/address.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { type CryptoPool, startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { examine } from '../../../apps/relayer/src/doctor/doctor.ts'
import { limitsOf } from '../../../apps/relayer/src/http/admission/limits.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { madeUpKey } from '../../support/chain/beacon.ts'
import { openCluster } from '../../support/keys/fixture-shares.ts'
import { loadFixtureCluster, readFixtureJson } from '../../support/keys/fixtures.ts'
import {
  type CharonNode,
  charonNode,
  type ExitBlob,
  type ExitsBody,
  exitBlob,
  exitSignAll,
  exitsBody,
  postExits,
} from '../../support/world/charon.ts'
import {
  assertOraclesCanExit,
  getExits,
  type KeyedValidator,
  postValidators,
  untilShares,
} from '../../support/world/nodes.ts'
import { ask, eventually, hex, startWorld, type World } from '../../support/world/world.ts'

interface Recorded {
  method: string
  path: string
  headers: Record<string, string>
  body: ExitsBody | null
}
const [single, fetched, ofNode1, ofNode3, empty] = readFixtureJson('obol/charon-requests.json') as [
  Recorded,
  Recorded,
  Recorded,
  Recorded,
  Recorded,
]

const cluster = loadFixtureCluster('cluster-4')
/** Imported beside it. */
const other = loadFixtureCluster('cluster-3')
const tokens = {
  operator: createToken('operator', 'operator', '*'),
  sidecar: createToken('sidecar', 'sidecar', '*'),
}
const asOperator = { authorization: `Bearer ${tokens.operator.token}` }
const asSidecar = { authorization: `Bearer ${tokens.sidecar.token}` }
/** The first key is asked for at index 5, as in what charon has sent; then all of them from 1000 on. */
const FIRST_INDEX = 5
const MOVED_INDEX = 1000

let world: World
let pool: CryptoPool
let validators: KeyedValidator[]
/** By share index. */
let nodes: CharonNode[]
let url: string
/** Its settings. */
let ours: Record<string, string>
let relayer: Awaited<ReturnType<World['startRelayer']>>
/** On whose account signature work was done, since the last look. */
let accounts: string[] = []

const keys = cluster.expected.validators.slice(0, 3).map(({ public_key }) => public_key)
const [key = ''] = keys
const nodeOf = (shareIndex: number) => nodes[shareIndex - 1] ?? expect.fail('no such node')

beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startWorld({ oracles: 3, threshold: 2, validators: FIRST_INDEX })
  validators = await openCluster(cluster)
  nodes = cluster.nodes.map((files, position) => charonNode(files, position + 1, validators))
  const tokensFile = join(world.dir, 'tokens')
  await writeFile(
    tokensFile,
    Object.values(tokens)
      .map(({ line }) => line)
      .join('\n'),
  )
  pool = startCryptoPool(1)
  const note =
    <A extends unknown[], R>(what: string, work: (...args: A) => R) =>
    (...args: A): R => {
      const { group, name } = currentAccount()
      if (group !== 'own') accounts.push(`${what}: ${group} ${name}`)
      return work(...args)
    }
  const crypto: CryptoPool = {
    ...pool,
    exitsSigner: note('proof', pool.exitsSigner),
    verify: note('signatures', pool.verify),
    [Symbol.asyncDispose]: async () => {},
  }
  ours = {
    CLUSTER_LOCK_FILES: `${cluster.lockFile},${other.lockFile}`,
    AUTH_TOKENS_FILE: tokensFile,
    OBOL_API: 'on',
  }
  relayer = await world.startRelayer(ours, { crypto })
  url = relayer.url
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await pool?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** Sends what was recorded, as it was. */
const replay = ({ method, path, headers, body }: Recorded) => {
  const { 'Content-Length': length, 'Content-Type': type, ...others } = headers
  const text = body === null ? undefined : JSON.stringify(body)
  if (text !== undefined && length !== undefined) expect(Buffer.byteLength(text)).toBe(Number(length))
  const sent = type === undefined ? others : { ...others, 'content-type': type }
  return ask(url, path, { method, headers: sent, ...(text === undefined ? {} : { body: text }) })
}
const readyOf = async (publicKey = key) =>
  (await getExits(url, asSidecar)).find(({ public_key }) => public_key === publicKey)?.share_indexes_ready
/** The first line that comes back where no byte of the body is sent. */
async function answerToHead(line: string, bytes: number): Promise<string> {
  const { port, hostname } = new URL(url)
  const socket = createConnection(Number(port), hostname)
  try {
    socket.write(`${line}\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`)
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    return String(chunk).split('\r\n')[0] ?? ''
  } finally {
    socket.destroy()
  }
}
const refusalOf = ({ json }: { json: unknown }) => {
  const { code, message, failures } = json as ErrorResponse
  return { code, message, failures: (failures ?? []).map((failure) => `${failure.index} ${failure.code}`) }
}
const hoodi = networks.hoodi
const message = { epoch: hoodi.capellaEpoch, validatorIndex: MOVED_INDEX }
const post = (node: CharonNode, ...blobs: ExitBlob[]) => postExits(url, node, exitsBody(node, blobs))

describe.skipIf(skipWithoutAnvil)('what charon has sent', () => {
  it('was made against a beacon node of another network, and is told so', async () => {
    expect((await postValidators(url, [key], asOperator)).status).toBe(200)
    const answer = await replay(single)
    expect(answer.status).toBe(422)
    const { code, message: said, failures } = refusalOf(answer)
    expect([code, failures]).toEqual(['EXITS_REFUSED', ['0 SIGNATURE_WRONG']])
    expect(said).toContain('signed for mainnet')
    expect(said).toContain('--beacon-node-endpoints of hoodi')
    expect(await readyOf()).toEqual([])
  })

  it('counts, made against one of its own: one exit, and again', async () => {
    const body = exitsBody(nodeOf(1), [exitBlob(nodeOf(1), key, hoodi, { ...message, validatorIndex: FIRST_INDEX })])
    // As many bytes as the recorded one, whose length is checked: the same fields in the same order.
    for (const again of [1, 2]) {
      expect(await replay({ ...single, body }), String(again)).toMatchObject({ status: 201, text: '{}' })
      expect(await readyOf()).toEqual([1])
    }
  })

  it('is no way to a full exit, nor to delete one', async () => {
    const answer = await replay(fetched)
    expect(answer).toMatchObject({ status: 404, json: { code: 'EXIT_NOT_SERVED' } })
    expect((answer.json as ErrorResponse).message).toContain('nothing to fetch')
    expect(await replay({ ...fetched, method: 'DELETE' })).toMatchObject({ status: 405 })
  })

  it('is stale once the index has moved, and says what to run', async () => {
    world.beacon.addValidators(
      ...Array.from({ length: MOVED_INDEX - FIRST_INDEX }, (_, i) => madeUpKey(FIRST_INDEX + i)),
    )
    expect((await postValidators(url, keys, asOperator)).status).toBe(200)
    expect(await readyOf()).toEqual([])
    const answer = await replay(single)
    expect(answer.status).toBe(422)
    const { code, message: said, failures } = refusalOf(answer)
    expect([code, failures]).toEqual(['EXITS_REFUSED', ['0 EXIT_INDEX_STALE']])
    expect(said).toContain(
      `run charon exit sign --validator-public-key=${key} --validator-index=${MOVED_INDEX} --exit-epoch=0`,
    )
    expect(await readyOf()).toEqual([])
  })

  it('counts: --all of two nodes, the moved index among them; and nothing at all', async () => {
    expect(await replay(ofNode1)).toMatchObject({ status: 201, text: '{}' })
    for (const one of keys) expect(await readyOf(one)).toEqual([1])
    expect(await replay(ofNode3)).toMatchObject({ status: 201, text: '{}' })
    expect(await replay(empty)).toMatchObject({ status: 201, text: '{}' })
    for (const one of keys) expect(await readyOf(one)).toEqual([1, 3])
  })
})

describe.skipIf(skipWithoutAnvil)('who has not signed what it posts', () => {
  const body = () => ofNode1.body ?? expect.fail('no body')
  const changed = {
    'the exits in another order': () => ({ ...body(), partial_exits: (body().partial_exits ?? []).toReversed() }),
    'an exit less': () => ({ ...body(), partial_exits: (body().partial_exits ?? []).slice(1) }),
    'nothing instead': () => ({ ...body(), partial_exits: null }),
    'another share index': () => ({ ...body(), share_idx: 2 }),
    'the signature of another request': () => ({ ...body(), signature: ofNode3.body?.signature }),
    'a v that is none': () => ({ ...body(), signature: `${body().signature.slice(0, -2)}05` }),
    zeros: () => ({ ...body(), signature: `0x${'00'.repeat(65)}` }),
  }
  it.each(Object.entries(changed))('is refused: %s', async (_, make) => {
    accounts = []
    const answer = await ask(url, ofNode1.path, { body: make() })
    expect(answer).toMatchObject({ status: 403, json: { code: 'NODE_SIGNATURE_WRONG' } })
    expect((answer.json as ErrorResponse).message).toContain('--private-key-file')
    // Nothing of it was on the account of the node it names.
    expect(accounts).toEqual(['proof: stranger 127.0.0.1'])
  })

  it.each([
    ['another lock', () => `/exp/partial_exits/0x${'11'.repeat(32)}`, () => body()],
    ['a share index that the lock does not have', () => ofNode1.path, () => ({ ...body(), share_idx: 5 })],
  ])('is refused without any work: %s', async (_, path, make) => {
    accounts = []
    const answer = await ask(url, path(), { body: make() })
    expect(answer).toMatchObject({ status: 404, json: { code: 'LOCK_UNKNOWN' } })
    expect((answer.json as ErrorResponse).message).toContain('CLUSTER_LOCK_FILES')
    expect(accounts).toEqual([])
  })

  it.each([
    ['of a lock that is not imported', '11'.repeat(32), 10, '404 Not Found'],
    ['larger than anything of the lock', ofNode1.path.slice(-64), 10_000_000, '413 Payload Too Large'],
  ])('is refused before it is read: %s', async (_, lock, bytes, status) => {
    for (const path of [`/exp/partial_exits/0x${lock}`, `/deposit_data/partial_deposits/0x${lock}/1`])
      expect(await answerToHead(`POST ${path} HTTP/1.1`, bytes)).toBe(`HTTP/1.1 ${status}`)
  })

  it('is refused for more exits than the lock has validators, and nothing is computed', async () => {
    accounts = []
    const partial_exits = Array.from({ length: cluster.expected.validators.length + 1 }, blob)
    const answer = await ask(url, ofNode1.path, { body: { ...body(), partial_exits } })
    expect(answer).toMatchObject({ status: 422, json: { code: 'TOO_MANY_SHARES' } })
    expect(accounts).toEqual([])
  })

  const blob = () => body().partial_exits?.[0] ?? expect.fail('no exit')
  const withMessage = (change: object) => ({
    ...blob(),
    signed_exit_message: { ...blob().signed_exit_message, message: { epoch: '0', validator_index: '5', ...change } },
  })
  it.each([
    ['no list', () => ({ ...body(), partial_exits: undefined })],
    ['a list that is text', () => ({ ...body(), partial_exits: 'all' })],
    ['a share index as text', () => ({ ...body(), share_idx: '1' })],
    ['share index 0', () => ({ ...body(), share_idx: 0 })],
    ['a short signature', () => ({ ...body(), signature: '0x11' })],
    ['a key that is too short', () => ({ ...body(), partial_exits: [{ ...blob(), public_key: '0x11' }] })],
    ['an epoch as a number', () => ({ ...body(), partial_exits: [withMessage({ epoch: 0 })] })],
    ['an epoch beyond 64 bits', () => ({ ...body(), partial_exits: [withMessage({ epoch: '18446744073709551616' })] })],
    ['an index with a sign', () => ({ ...body(), partial_exits: [withMessage({ validator_index: '-1' })] })],
  ])('is refused for its shape: %s', async (_, make) => {
    const answer = await ask(url, ofNode1.path, { body: make() })
    expect(answer).toMatchObject({ status: 422, json: { code: 'BODY_INVALID' } })
  })

  it('is refused for its path', async () => {
    const answer = await ask(url, '/exp/partial_exits/0x11', { body: body() })
    expect(answer).toMatchObject({ status: 422, json: { code: 'PATH_INVALID' } })
  })
})

describe.skipIf(skipWithoutAnvil)('what a node has signed', () => {
  it('is refused with the keys of another node, and the message names it', async () => {
    accounts = []
    const foreign = exitBlob(nodeOf(2), key, hoodi, message)
    const { code, message: said, failures } = refusalOf(await post(nodeOf(4), foreign))
    expect([code, failures]).toEqual(['EXITS_REFUSED', ['0 SIGNATURE_WRONG']])
    expect(said).toContain('0 of 1 exit taken')
    expect(said).toContain('signed with the key share of node 2')
    expect(said).toContain('--validator-keys-dir')
    // Who it is was proven on the account of nobody; from there on it is the node's.
    expect(accounts[0]).toBe('proof: stranger 127.0.0.1')
    expect(accounts.length).toBeGreaterThan(1)
    for (const account of accounts.slice(1))
      expect(account).toBe(`signatures: sidecar charon:${hex(addressOfSecretKey(nodeOf(4).enrKey))}`)
    expect(await readyOf()).toEqual([1, 3])
  })

  it('is refused for another epoch, with the epoch and the command', async () => {
    const epoch = networks.mainnet.capellaEpoch
    const { failures, message: said } = refusalOf(
      await post(nodeOf(4), exitBlob(nodeOf(4), key, hoodi, { ...message, epoch })),
    )
    expect(failures).toEqual(['0 EXIT_EPOCH_WRONG'])
    expect(said).toContain(`made for epoch ${epoch}, and every exit on hoodi is for epoch 0`)
    expect(said).toContain('run charon exit sign --all --exit-epoch=0,')
  })

  it.each([
    ['genesis, as charon makes it', { ...hoodi, genesisValidatorsRoot: networks.mainnet.genesisValidatorsRoot }],
    ['network', networks.mainnet],
  ])('is refused for another %s, and the message names the network', async (_, fork) => {
    const { failures, message: said } = refusalOf(await post(nodeOf(4), exitBlob(nodeOf(4), key, fork, message)))
    expect(failures).toEqual(['0 SIGNATURE_WRONG'])
    expect(said).toContain('signed for mainnet')
    expect(said).toContain('--beacon-node-endpoints of hoodi')
  })

  it('is refused for a genesis that nobody knows, with what to look at', async () => {
    const fork = { ...hoodi, genesisValidatorsRoot: new Uint8Array(32).fill(7) }
    const { failures, message: said } = refusalOf(await post(nodeOf(4), exitBlob(nodeOf(4), key, fork, message)))
    expect(failures).toEqual(['0 SIGNATURE_WRONG'])
    expect(said).toContain('--validator-keys-dir, against a beacon node of hoodi')
  })

  it('is refused for what the lock does not have, and for what nobody asks for', async () => {
    const [unasked = ''] = cluster.expected.validators.slice(5).map(({ public_key }) => public_key)
    const strange = { ...exitBlob(nodeOf(4), key, hoodi, message), public_key: `0x${'aa'.repeat(48)}` }
    const body = exitsBody(nodeOf(4), [exitBlob(nodeOf(4), unasked, hoodi, message), strange])
    const { failures, message: said } = refusalOf(await postExits(url, nodeOf(4), body))
    expect(failures).toEqual(['0 EXIT_NOT_OPEN', '1 KEY_NOT_IN_LOCK'])
    expect(said).toContain('/obol')
  })

  it('is refused for a validator of another lock, also with a right signature', async () => {
    const [files] = other.nodes
    if (files === undefined) return expect.fail('no node')
    const stranger = charonNode(files, 1, validators)
    const right = exitBlob(nodeOf(2), key, hoodi, message)
    const own = exitBlob(stranger, key, hoodi, message)
    for (const blob of [right, own])
      expect(refusalOf(await post(stranger, blob)).failures).toEqual(['0 KEY_NOT_IN_LOCK'])
    expect(await readyOf()).toEqual([1, 3])
  })

  it('counts as far as it is good, whatever comes with it', async () => {
    const [, second = '', third = ''] = keys
    const late = exitBlob(nodeOf(4), second, hoodi, { ...message, validatorIndex: 7 })
    const good = exitBlob(nodeOf(4), key, hoodi, message)
    const foreign = exitBlob(nodeOf(1), third, hoodi, { ...message, validatorIndex: MOVED_INDEX + 2 })
    const answer = await post(nodeOf(4), late, good, foreign)
    expect(answer.status).toBe(422)
    const { failures, message: said } = refusalOf(answer)
    expect(failures).toEqual(['0 EXIT_INDEX_STALE', '2 SIGNATURE_WRONG'])
    expect(said).toMatch(/^1 of 3 exits taken; .* \(and 1 more that were not taken\)$/)
    expect(await readyOf()).toEqual([1, 3, 4])
    expect(await readyOf(third)).toEqual([1, 3])
  })

  it('completes the exits, by the stand-in alone', async () => {
    expect(await exitSignAll(url, nodeOf(4), hoodi.capellaEpoch)).toMatchObject({ status: 201, text: '{}' })
    const { validators: done } = await untilShares(url, keys, asOperator)
    for (const [position, item] of done.entries())
      await assertOraclesCanExit(
        hoodi,
        world.oracles,
        2,
        Buffer.from((keys[position] ?? '').slice(2), 'hex'),
        MOVED_INDEX + position,
        item.oracles_exit_signature_shares,
      )
  })

  it('is taken when it comes late: the exit is ready', async () => {
    expect(await exitSignAll(url, nodeOf(2), hoodi.capellaEpoch)).toMatchObject({ status: 201, text: '{}' })
    expect(await replay(ofNode3)).toMatchObject({ status: 201, text: '{}' })
  })

  it('is seen: which node was there, and what it was refused', async () => {
    const seen = ['1 charon EXITS_REFUSED', '2 charon null', '3 charon null', '4 charon EXITS_REFUSED']
    await eventually('what was seen of the nodes', async () => {
      const rows = await world.query<{ share_index: string; software: string; refusal_code: string | null }>(
        `select share_index, software, refusal_code from nodes_seen where token_name = any($1) order by share_index`,
        [nodes.map(({ enrKey }) => `node:${hex(addressOfSecretKey(enrKey))}`)],
      )
      const words = rows.map(({ share_index, software, refusal_code }) => `${share_index} ${software} ${refusal_code}`)
      return isDeepStrictEqual(words, seen) ? true : undefined
    })
    // Node 1 of the other cluster was there as well, and is noted by itself.
    await eventually('which way they came', async () => {
      const { json } = await ask(url, routes.getExplanation.path.replace(':public_key', key), { headers: asOperator })
      const ways = (json as Explanation).shares.map(({ node }) => node.came_by)
      return isDeepStrictEqual(ways, [undefined, ...Array(3).fill('charon')]) ? true : undefined
    })
    const { findings } = await examine(world.environment(ours))
    const workers = findings.find(({ check }) => check === 'workers')
    expect(workers?.message).toMatch(
      /came by a key within a day: .*node:0x[0-9a-f]{40} \(share index 3, with charon alone\)/,
    )
    // The list was asked for with a token that names no share index.
    expect(workers?.message).toMatch(/; by a token: sidecar \(any share index\)/)
    expect(workers?.facts).toMatchObject({ nodes_by_token: [{ name: 'sidecar', came_by: 'token' }] })
  })
})

describe.skipIf(skipWithoutAnvil)('a request under way', () => {
  it('counts on its node once that is proven, and on nobody else', async () => {
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const settings = { CLUSTER_LOCK_FILES: cluster.lockFile, OBOL_API: 'on' }
    const limits = { ...limitsOf(readConfig(world.environment(settings)).config), requestsOfOne: 1, refusalMs: 1 }
    const crypto: CryptoPool = {
      ...pool,
      async verify(triples) {
        if (currentAccount().group === 'sidecar') {
          reached.resolve()
          await gate.promise
        }
        return pool.verify(triples)
      },
      [Symbol.asyncDispose]: async () => {},
    }
    await using narrow = await world.startRelayer(settings, { crypto, limits })
    const wrong = exitsBody(nodeOf(1), [exitBlob(nodeOf(2), key, hoodi, message)])
    const first = postExits(narrow.url, nodeOf(1), wrong)
    await reached.promise
    expect(await postExits(narrow.url, nodeOf(1), wrong)).toMatchObject({ status: 503, json: { code: 'TOO_BUSY' } })
    const stranger = { ...wrong, signature: `0x${'00'.repeat(65)}` }
    expect(await postExits(narrow.url, nodeOf(1), stranger)).toMatchObject({ status: 403 })
    const right = exitsBody(nodeOf(3), [exitBlob(nodeOf(3), key, hoodi, message)])
    expect(await postExits(narrow.url, nodeOf(3), right)).toMatchObject({ status: 201 })
    gate.resolve()
    expect(await first).toMatchObject({ status: 422 })
    // Its place is free again.
    expect(await postExits(narrow.url, nodeOf(1), wrong)).toMatchObject({ status: 422 })
  })
})
