/** Nodes that show no token and sign their requests: who is let in, for what, and what each refusal says. */

import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { examine } from '../../../apps/relayer/src/doctor/doctor.ts'
import { limitsOf } from '../../../apps/relayer/src/http/admission/limits.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { type MadeCluster, makeCluster } from '../../support/keys/make-cluster.ts'
import { expectRefusal } from '../../support/mutations.ts'
import { type NodeIdentity, nodeOf, PUBLIC_URL, type SignedParts, signedBy } from '../../support/stages/identity.ts'
import { getExits, partialExit, postValidators, publicKeysOf, untilOracleSet } from '../../support/world/nodes.ts'
import { ask, eventually, startWorld, type World } from '../../support/world/world.ts'

const operator = createToken('operator', 'operator', '*')
const admin = createToken('admin', 'admin', '*')
const asOperator = { authorization: `Bearer ${operator.token}` }

let world: World
let relayer: Relayer
let second: Relayer
let clusters: Record<'ours' | 'others' | 'unlisted' | 'unpinned' | 'unknown', MadeCluster>
let settings: Record<string, string>

beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  const make = (name: string) =>
    makeCluster({
      dir: join(world.dir, name),
      nodes: 4,
      threshold: 3,
      validators: 2,
      network: world.network,
      withdrawalAddress: new Uint8Array(20).fill(0x11),
      feeRecipient: new Uint8Array(20).fill(1),
      name,
    })
  const [ours, others, unlisted, unpinned, unknown] = [
    await make('ours'),
    await make('others'),
    await make('unlisted'),
    await make('unpinned'),
    await make('unknown'),
  ]
  clusters = { ours, others, unlisted, unpinned, unknown }
  const file = join(world.dir, 'tokens')
  const hashOf = ({ lock }: MadeCluster) => toHex(lock.lockHash)
  await writeFile(
    file,
    `${operator.line}\n${admin.line}\nnodes ${hashOf(ours)},${hashOf(others)}\nnodes ${hashOf(unpinned)}\n`,
  )
  const pinned = [ours, others, unlisted]
  settings = {
    AUTH_TOKENS_FILE: file,
    PUBLIC_URL: `${PUBLIC_URL}/`,
    CLUSTER_LOCK_FILES: pinned.map(({ lockFile }) => lockFile).join(),
    CLUSTER_LOCK_HASHES: pinned.map(hashOf).join(),
  }
  {
    // As an operator has it that pinned nothing once.
    await using _early = await world.startRelayer({ CLUSTER_LOCK_FILES: unpinned.lockFile })
  }
  relayer = await world.startRelayer(settings)
  second = await world.startRelayer({ ...settings, ROLE: 'api' })
  await untilOracleSet(relayer.url, asOperator)
  const keys = publicKeysOf([...ours.validators, ...others.validators])
  expect((await postValidators(relayer.url, keys, asOperator)).status).toBe(200)
})
afterAll(async () => {
  await second?.[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** A node (from 0) of a cluster. */
function node(cluster: keyof typeof clusters, position: number): NodeIdentity {
  const found = clusters[cluster].nodes[position]
  if (found === undefined) throw new Error(`no node ${position}`)
  return nodeOf(found)
}

/** Sends what a node has signed; `sent` is what is sent instead. */
async function send(
  identity: NodeIdentity,
  parts: SignedParts,
  { url = relayer.url, sent = {} }: { url?: string; sent?: Partial<SignedParts> } = {},
) {
  const headers = await signedBy(identity, parts)
  const body = sent.body ?? parts.body
  return ask(url, sent.path ?? parts.path, { headers, ...(body === undefined ? {} : { body }) })
}

const codeOf = async (answer: Promise<Awaited<ReturnType<typeof ask>>>) => {
  const { status, json, ...rest } = await answer
  if (status !== 200) expectRefusal({ status, json, ...rest })
  return status === 200 ? '200' : `${status} ${(json as { code: string }).code}`
}

/** Exits of the first validators of these clusters, signed by a node's share. */
async function exitsBody(shareIndex: number, ...of: (keyof typeof clusters)[]): Promise<string> {
  const listed = await getExits(relayer.url, await signedBy(node('ours', 0), { path: '/exits' }))
  const shares = of.map((name) => {
    const [validator] = clusters[name].validators
    if (validator === undefined) throw new Error('no validator')
    const public_key = toHex(validator.publicKey)
    const index = listed.find((exit) => exit.public_key === public_key)?.validator_index ?? 0
    return { public_key, exit_signature: partialExit(world.network, validator, shareIndex, index) }
  })
  return JSON.stringify({ share_index: shareIndex, shares })
}

async function readyOf(name: keyof typeof clusters): Promise<number[]> {
  const listed = await getExits(relayer.url, await signedBy(node('ours', 0), { path: '/exits' }))
  const key = publicKeysOf(clusters[name].validators)[0]
  return listed.find((exit) => exit.public_key === key)?.share_indexes_ready ?? []
}

/** The public key of a validator whose cluster nobody knows. */
async function ofNoCluster(): Promise<string> {
  const key = Buffer.alloc(48, 0xaa)
  await world.query('insert into validators (public_key) values ($1) on conflict do nothing', [key])
  return toHex(key)
}

const rsaKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey

const nonces = async () => (await world.query<{ count: string }>('select count(*) from request_nonces'))[0]?.count ?? ''

describe('a node that signs', () => {
  it('is told who it is, and of its own cluster alone', async () => {
    const { status, json } = await send(node('ours', 2), { path: '/whoami' })
    expect(status).toBe(200)
    expect(json).toMatchObject({
      name: expect.stringMatching(/^node:0x[0-9a-f]{40}$/),
      role: 'sidecar',
      identity: 'node_key',
      binding: { vaults: null, oracles: null, share_indexes: [3] },
      clusters: [{ name: 'ours', share_indexes: [1, 2, 3, 4] }],
    })
    expect((await ask(relayer.url, '/whoami', { headers: asOperator })).json).toMatchObject({ identity: 'token' })
  })

  it('hands in its signatures, and is seen by its key', async () => {
    const body = await exitsBody(1, 'ours')
    const answer = await send(node('ours', 0), { path: '/exit-signature', body })
    expect([answer.status, answer.text]).toEqual([200, '{}'])
    expect(await readyOf('ours')).toEqual([1])
    // Without the header that says it early, all the same.
    const other = await send(node('ours', 1), {
      path: '/exit-signature',
      body: await exitsBody(2, 'ours'),
      hasDigest: false,
    })
    expect([other.status, other.text]).toEqual([200, '{}'])
    expect(await readyOf('ours')).toEqual([1, 2])
    const rows = await eventually('both are written', async () => {
      const found = await world.query<{ token_name: string; share_index: string }>(
        'select token_name, share_index from nodes_seen where posted_at is not null order by share_index',
      )
      return found.length === 2 ? found : undefined
    })
    expect(rows.map(({ share_index: index }) => index)).toEqual(['1', '2'])
    for (const { token_name: name } of rows) expect(name).toMatch(/^node:0x[0-9a-f]{40}$/)
    const { findings } = await examine(world.environment(settings))
    expect(findings.find(({ check }) => check === 'workers')?.message).toMatch(
      /; nodes that came by a key within a day: .*node:0x[0-9a-f]{40} \(share index [12]\)/,
    )
  })

  it('speaks for its own share index of its own cluster alone', async () => {
    const own = { path: '/exit-signature' }
    const foreign = await send(node('ours', 3), { ...own, body: await exitsBody(4, 'others') })
    expect(foreign).toMatchObject({
      status: 403,
      json: { code: 'NODE_BINDING', failures: [{ index: 0, code: 'NODE_BINDING' }] },
    })
    const mixed = await send(node('ours', 3), { ...own, body: await exitsBody(4, 'others', 'ours') })
    expect(mixed).toMatchObject({ status: 200, json: { failures: [{ index: 0, code: 'NODE_BINDING' }] } })
    expect(await readyOf('ours')).toContain(4)
    expect(await readyOf('others')).toEqual([])
    expect(await codeOf(send(node('ours', 3), { ...own, body: await exitsBody(1, 'ours') }))).toBe('403 NODE_BINDING')
    const pair = JSON.stringify({
      share_index: 4,
      shares: [
        {
          public_key: publicKeysOf(clusters.others.validators)[0],
          exit_signature: `0x${'00'.repeat(96)}`,
          deposit_signature: `0x${'00'.repeat(96)}`,
        },
      ],
    })
    expect(await codeOf(send(node('ours', 3), { path: '/signatures', body: pair }))).toBe('403 NODE_BINDING')
  })

  it('asks why of its own validators alone', async () => {
    const pathOf = (name: keyof typeof clusters) => `/validators/${publicKeysOf(clusters[name].validators)[0]}/explain`
    expect((await send(node('ours', 0), { path: pathOf('ours') })).json).toMatchObject({ shares: [{ share_index: 1 }] })
    expect(await codeOf(send(node('ours', 0), { path: pathOf('others') }))).toBe('404 KEY_UNKNOWN')
    // Of no known cluster: any token of a sidecar may ask, and a key that could not sign for it may not.
    const path = `/validators/${await ofNoCluster()}/explain`
    expect(await codeOf(send(node('ours', 0), { path }))).toBe('404 KEY_UNKNOWN')
  })

  it('sees in the status its own cluster and validators alone', async () => {
    const statusOf = async (query = '') => {
      const { status, json } = await send(node('ours', 0), { path: `/status.json${query}` })
      expect(status).toBe(200)
      return json as Status
    }
    const status = await eventually('clusters are counted', async () => {
      const found = await statusOf()
      return found.clusters.length > 0 ? found : undefined
    })
    expect(status.clusters).toMatchObject([{ name: 'ours', nodes: [{ share_index: 1 }] }])
    const [own, foreign] = [publicKeysOf(clusters.ours.validators), publicKeysOf(clusters.others.validators)]
    const keysOf = ({ validators }: Status) => validators.items.map(({ public_key: key }) => key)
    expect(own).toEqual(expect.arrayContaining(keysOf(status)))
    expect(keysOf(await statusOf(`?key=${own[0]}`))).toEqual([own[0]])
    for (const key of [foreign[0], await ofNoCluster()]) expect(keysOf(await statusOf(`?key=${key}`))).toEqual([])
  })

  it('is refused with a code for each reason, and what is refused leaves nothing', async () => {
    const path = '/exits'
    const now = Math.floor(Date.now() / 1000)
    const body = await exitsBody(3, 'ours')
    const changed = body.replace('"share_index":3', '"share_index":4')
    const post = { path: '/exit-signature', body }
    const before = await nonces()
    const refusals: [string, Promise<Awaited<ReturnType<typeof ask>>>, string][] = [
      ['a wrong key', send(node('unknown', 0), { path }), '401 NODE_UNKNOWN'],
      ['a lock that is not pinned', send(node('unpinned', 0), { path }), '403 NODE_UNPINNED'],
      ['a lock that is not listed', send(node('unlisted', 0), { path }), '403 NODE_UNLISTED'],
      ['another relayer', send(node('ours', 0), { path, relayer: 'https://other.example' }), '401 NODE_UNKNOWN'],
      ['the address instead of the name', send(node('ours', 0), { path, relayer: relayer.url }), '401 REQUEST_RELAYER'],
      ['61 s ago', send(node('ours', 0), { path, time: now - 70 }), '401 REQUEST_TIME'],
      ['61 s ahead', send(node('ours', 0), { path, time: now + 70 }), '401 REQUEST_TIME'],
      ['another network', send(node('ours', 0), { path, network: 'mainnet' }), '401 NODE_UNKNOWN'],
      ['another query', send(node('ours', 0), { path }, { sent: { path: '/exits?wait=0' } }), '401 NODE_UNKNOWN'],
      [
        'a changed body without its hash',
        send(node('ours', 2), { ...post, hasDigest: false }, { sent: { body: changed } }),
        '401 NODE_UNKNOWN',
      ],
      ['an operator that is not listed', send({ operatorId: 7, rsaKey: rsaKey() }, { path }), '403 NODE_UNLISTED'],
      [
        'the route of operators',
        send(node('ours', 0), { path: '/validators', body: '{"public_keys":[]}' }),
        '403 REQUEST_SIGNATURE_ROUTE',
      ],
      [
        'the route of oracles',
        send(node('ours', 0), { path: `/oracles/0x${'11'.repeat(20)}/exit-shares` }),
        '403 REQUEST_SIGNATURE_ROUTE',
      ],
    ]
    for (const [name, answer, code] of refusals) expect([name, await codeOf(answer)]).toEqual([name, code])
    expect(await nonces()).toBe(before)
    expect(await codeOf(send(node('ours', 2), post, { sent: { body: changed } }))).toBe('401 REQUEST_BODY')
    expect(await readyOf('ours')).not.toContain(3)
  })

  it('is let in once by a request, in all processes', async () => {
    const headers = await signedBy(node('ours', 0), { path: '/exits' })
    const urls = [relayer.url, second.url, relayer.url, second.url]
    const race = await Promise.all(urls.map((url) => codeOf(ask(url, '/exits', { headers }))))
    expect(race.toSorted()).toEqual(['200', ...Array(3).fill('401 REQUEST_REPLAYED')])
    expect(await codeOf(ask(second.url, '/exits', { headers }))).toBe('401 REQUEST_REPLAYED')
    const body = await exitsBody(1, 'ours')
    for (const hasDigest of [true, false]) {
      const posted = await signedBy(node('ours', 0), { path: '/exit-signature', body, hasDigest })
      expect(await codeOf(ask(relayer.url, '/exit-signature', { headers: posted, body }))).toBe('200')
      expect(await codeOf(ask(second.url, '/exit-signature', { headers: posted, body }))).toBe('401 REQUEST_REPLAYED')
    }
  })

  it('has its nonces forgotten when they can be of no use any more', async () => {
    const nonce = `0x${'5a'.repeat(16)}`
    expect(await codeOf(send(node('ours', 0), { path: '/exits', nonce }))).toBe('200')
    const kept = async () =>
      (await world.query('select from request_nonces where nonce = $1', [Buffer.alloc(16, 0x5a)])).length
    await world.query(`update request_nonces set seen_at = seen_at - interval '890 seconds' where nonce = $1`, [
      Buffer.alloc(16, 0x5a),
    ])
    await world.query(`update request_nonces set seen_at = seen_at - interval '1 day' where nonce <> $1`, [
      Buffer.alloc(16, 0x5a),
    ])
    await eventually('the sweep', async () => ((await nonces()) === '1' ? true : undefined))
    expect(await kept()).toBe(1)
    await world.query(`update request_nonces set seen_at = seen_at - interval '20 seconds'`)
    await eventually('the sweep', async () => ((await kept()) === 0 ? true : undefined))
  })

  it('of a lock that an earlier version has imported is known after the next start', async () => {
    await world.query('delete from node_keys')
    await using next = await world.startRelayer({ ...settings, ROLE: 'api' })
    expect(await codeOf(send(node('ours', 0), { path: '/exits' }, { url: next.url }))).toBe('200')
  })

  it('is refused where PUBLIC_URL is not set, and is anybody where no tokens are', async () => {
    const { PUBLIC_URL: _, ...closed } = settings
    await using silent = await world.startRelayer({ ...closed, ROLE: 'api' })
    expect(await codeOf(send(node('ours', 0), { path: '/exits' }, { url: silent.url }))).toBe('403 PUBLIC_URL_MISSING')
    const { AUTH_TOKENS_FILE: __, ...open } = settings
    await using free = await world.startRelayer({ ...open, ROLE: 'api' })
    expect((await send(node('unknown', 0), { path: '/whoami' }, { url: free.url })).json).toMatchObject({
      name: null,
      identity: null,
    })
  })
})

describe('who only claims to be a node', () => {
  /** The beginning of a post that never ends, signed or not. */
  async function hang(url: string, headers: Record<string, string>, bytes: number): Promise<Socket> {
    const { port, hostname } = new URL(url)
    const socket = createConnection(Number(port), hostname)
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => undefined)
    await new Promise((resolve) => socket.once('connect', resolve))
    const lines = Object.entries({ ...headers, host: 'x', 'content-length': String(bytes) }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    )
    socket.write(`POST /exit-signature HTTP/1.1\r\n${lines.join('')}\r\n{`)
    return socket
  }
  const held = async (url: string) => {
    const { text } = await ask(url, '/metrics', { headers: { authorization: `Bearer ${admin.token}` } })
    return Number(/^dvt_relayer_held_bytes\{of="bodies"\} (\d+)$/m.exec(text)?.[1])
  }

  it('takes the room of strangers alone, while nodes that say what they send have theirs', async () => {
    const size = 1024 * 1024
    // Nobody is cut off for being slow.
    const upload = { everyMs: 3_600_000, leastBytes: 1 }
    const uploadOfStrangers = { afterMs: 3_600_000, everyMs: 3_600_000 }
    const limits = { ...limitsOf(readConfig(world.environment(settings)).config), upload, uploadOfStrangers }
    await using patient = await world.startRelayer({ ...settings, ROLE: 'api' }, { limits })
    const { url } = patient
    const claims = await Promise.all(
      Array.from({ length: 6 }, async () =>
        hang(url, await signedBy(node('unknown', 0), { path: '/exit-signature', body: '{}', hasDigest: false }), size),
      ),
    )
    expect(claims).toHaveLength(6)
    // Four of them are being read, at three times their bytes.
    await eventually('their room is full', async () => ((await held(url)) === 12 * size ? true : undefined))
    const body = await exitsBody(1, 'ours')
    expect(await codeOf(send(node('ours', 0), { path: '/exit-signature', body }, { url }))).toBe('200')
    // One that does not say it waits with them.
    const late = await send(node('ours', 0), { path: '/exit-signature', body, hasDigest: false }, { url })
    expect(late).toMatchObject({ status: 503, json: { code: 'TOO_BUSY' } })
    for (const socket of claims) socket.destroy()
  })
})
