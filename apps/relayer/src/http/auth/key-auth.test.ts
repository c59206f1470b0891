import { createHash, generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto'
import { currentAccount, onAccountOf } from '@dvt-relayer/common/account.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { FastifyRequest } from 'fastify'
import { privateKeyToAccount } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import {
  type NodeIdentity,
  PUBLIC_URL,
  type SignedParts,
  signedBy,
} from '../../../../../test/support/stages/identity.ts'
import { UNPROVEN } from './caller.ts'
import { createKeyAuth } from './key-auth.ts'

const NOW = 1_800_000_000
const enrKey = toHex(new Uint8Array(32).fill(7))
const node: NodeIdentity = { enrKey }
const stranger: NodeIdentity = { enrKey: toHex(new Uint8Array(32).fill(8)) }
const publicKey = fromHex(privateKeyToAccount(enrKey).publicKey, 65)
const compressed = Uint8Array.from([2 + ((publicKey[64] ?? 0) & 1), ...publicKey.subarray(1, 33)])
type Pair = KeyPairKeyObjectResult
const LOCK = new Uint8Array(32).fill(1)
const [other, ...rest] = [1, 2].map(() => generateKeyPairSync('rsa', { modulusLength: 2048 })) as [Pair, ...Pair[]]
const rsa = [other, ...rest]
const operator = (id: number, key = 0): NodeIdentity => ({
  operatorId: id,
  rsaKey: (rsa[key] ?? other).privateKey,
})
const spkiOf = (key: number) => new Uint8Array(rsa[key]?.publicKey.export({ format: 'der', type: 'spki' }) ?? [])

/** What decides, with one node of one lock and operators 5 and 6, and what it did. */
function makeAuth({
  publicUrl = PUBLIC_URL as string | null,
  pins = [LOCK],
  nodes = [toHex(LOCK)] as string[],
  isHashKnown = true,
} = {}) {
  const done: string[] = []
  const accounts: unknown[] = []
  const used = new Set<string>()
  const auth = createKeyAuth({
    config: {
      network: { name: 'hoodi' },
      http: { publicUrl: publicUrl === null ? undefined : new URL(publicUrl) },
      clusters: { lockHashes: pins },
    },
    events: { authRefused: (reason) => void done.push(`refused ${reason}`) },
    listed: { nodes: new Set(nodes), operators: new Set(['5', '6', '7']) },
    nodeKeys: {
      placesOf: async (key) =>
        toHex(key) === toHex(compressed)
          ? [{ lockHash: Buffer.from(LOCK), shareIndex: 3, publicKey: Buffer.from(key), isHashKnown }]
          : [],
      takeNonce: async (signer, nonce) => {
        done.push('nonce')
        accounts.push(currentAccount())
        const name = `${toHex(signer)} ${toHex(nonce)}`
        const isNew = !used.has(name)
        used.add(name)
        return isNew
      },
    },
    operatorKeys: { find: async (id) => (id === 5 ? spkiOf(0) : id === 6 ? spkiOf(1) : undefined) },
  })
  return { auth, done, accounts }
}

const PATH = '/validators?wait=25'
const sha256 = (text: string) => createHash('sha256').update(text).digest()

/** A request as it comes. */
async function requestOf(
  identity: NodeIdentity,
  parts: Partial<SignedParts> = {},
  came: { path?: string; body?: string; address?: string; host?: string } = {},
): Promise<FastifyRequest> {
  const signed = { path: PATH, time: NOW, ...parts }
  const body = came.body ?? signed.body
  return {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(await signedBy(identity, signed)),
      host: came.host ?? '10.0.0.1:8000',
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    },
    raw: { url: came.path ?? signed.path },
    socket: { remoteAddress: came.address ?? '192.0.2.1' },
  } as unknown as FastifyRequest
}
const ask = (
  { auth }: ReturnType<typeof makeAuth>,
  request: FastifyRequest,
  now = NOW,
  access = ['sidecar'] as const,
) => auth.authenticate(request, access, 'route', now)
const codeOf = (asked: Promise<unknown>) =>
  asked.then(
    () => 'taken',
    ({ code }: { code: string }) => code,
  )

describe('the key of a node', () => {
  it('uses up its nonce in a line of its own, not behind the strangers of its address, and not in the node’s', async () => {
    const made = makeAuth()
    const stranger = { group: 'stranger', name: '192.0.2.1' }
    const caller = await onAccountOf(stranger, async () => ask(made, await requestOf(node)))
    expect(made.accounts).toEqual([{ group: 'sidecar', name: `proof:${toHex(compressed)}` }])
    expect(made.accounts).not.toEqual([{ group: 'sidecar', name: caller.name }])
  })

  it('gives its places in pinned locks, and a name that no token has', async () => {
    const caller = await ask(makeAuth(), await requestOf(node))
    expect(caller).toMatchObject({ role: 'sidecar', shareIndexes: [3], node: { locks: [{ shareIndex: 3 }] } })
    expect(caller.name).toBe(`node:${privateKeyToAccount(enrKey).address.toLowerCase()}`)
    expect(await ask(makeAuth(), await requestOf(operator(5)))).toMatchObject({
      name: 'operator:5',
      role: 'sidecar',
      shareIndexes: [5],
      node: { operatorId: 5 },
    })
  })

  it.each<[string, NodeIdentity, Partial<SignedParts>, Parameters<typeof requestOf>[2], string]>([
    ['of nobody', stranger, {}, {}, 'NODE_UNKNOWN'],
    ['for another network', node, { network: 'mainnet' }, {}, 'NODE_UNKNOWN'],
    ['for another path', node, {}, { path: '/validators' }, 'NODE_UNKNOWN'],
    ['for another method', node, { method: 'POST' }, {}, 'NODE_UNKNOWN'],
    ['for another relayer', node, { relayer: 'https://other.example' }, {}, 'NODE_UNKNOWN'],
    [
      'for another relayer, as which it came here',
      node,
      { relayer: 'https://other.example' },
      { host: 'other.example' },
      'REQUEST_RELAYER',
    ],
    ['for the address it came to', node, { relayer: 'http://10.0.0.1:8000' }, {}, 'REQUEST_RELAYER'],
    ['61 s ago', node, { time: NOW - 61 }, {}, 'REQUEST_TIME'],
    ['61 s ahead', node, { time: NOW + 61 }, {}, 'REQUEST_TIME'],
    ['60 s ago', node, { time: NOW - 60 }, {}, 'taken'],
    ['with a short nonce', node, { nonce: `0x${'ab'.repeat(15)}` }, {}, 'REQUEST_SIGNATURE_INVALID'],
    ['by the operator of another id', operator(6, 0), {}, {}, 'OPERATOR_FOREIGN'],
    ['by an operator for another relayer', operator(5), { relayer: 'https://x.example' }, {}, 'OPERATOR_FOREIGN'],
    [
      'by an operator for the address it came to',
      operator(5),
      { relayer: 'http://10.0.0.1:8000' },
      {},
      'REQUEST_RELAYER',
    ],
    ['by an operator whose key nobody has', operator(7), {}, {}, 'OPERATOR_UNKNOWN'],
    ['by an operator that may not call', operator(9), {}, {}, 'NODE_UNLISTED'],
    ['by an operator, 61 s ago', operator(5), { time: NOW - 61 }, {}, 'REQUEST_TIME'],
    [
      'by an operator with a short nonce',
      operator(5),
      { nonce: `0x${'ab'.repeat(15)}` },
      {},
      'REQUEST_SIGNATURE_INVALID',
    ],
    ['by an operator of an id that is no number', operator(2 ** 53), {}, {}, 'REQUEST_SIGNATURE_INVALID'],
    [
      'for another relayer, and came to no address',
      node,
      { relayer: 'https://x.example' },
      { host: '%' },
      'NODE_UNKNOWN',
    ],
  ])('that signed %s is refused with a code of its own, or taken', async (_, identity, parts, came, code) => {
    const made = makeAuth()
    expect(await codeOf(ask(made, await requestOf(identity, parts, came)))).toBe(code)
    // What is refused leaves no nonce.
    expect(made.done.includes('nonce')).toBe(code === 'taken')
  })

  it('of a lock that is not pinned, or whose hash nobody recomputed, or that is not listed, is refused', async () => {
    const cases: [Parameters<typeof makeAuth>[0], string][] = [
      [{ pins: [] }, 'NODE_UNPINNED'],
      [{ pins: [new Uint8Array(32)], nodes: ['*'] }, 'NODE_UNPINNED'],
      [{ isHashKnown: false }, 'NODE_UNPINNED'],
      [{ nodes: [] }, 'NODE_UNLISTED'],
      [{ nodes: [`0x${'02'.repeat(32)}`] }, 'NODE_UNLISTED'],
      [{ nodes: ['*'] }, 'taken'],
    ]
    for (const [options, code] of cases) expect(await codeOf(ask(makeAuth(options), await requestOf(node)))).toBe(code)
  })

  it('that may not call is told that it signed for the address it came to', async () => {
    const signed = await requestOf(node, { relayer: 'http://10.0.0.1:8000' })
    expect(await codeOf(ask(makeAuth({ nodes: [] }), signed))).toBe('REQUEST_RELAYER')
  })

  it('is looked at by the clock of this machine', async () => {
    const signed = await requestOf(node, { time: Math.floor(Date.now() / 1000) })
    expect((await makeAuth().auth.authenticate(signed, ['sidecar'], 'route')).shareIndexes).toEqual([3])
  })

  it('is nobody’s where the signature is none', async () => {
    const made = makeAuth()
    const request = await requestOf(node)
    const [time, nonce] = String(request.headers.authorization).split(':')
    request.headers.authorization = `${time}:${nonce}:0x${'00'.repeat(64)}1b`
    expect(await codeOf(ask(made, request))).toBe('REQUEST_SIGNATURE_INVALID')
    expect(made.done).toEqual(['refused signature'])
  })

  it('is refused without PUBLIC_URL, and where sidecars have no business', async () => {
    const { auth, done } = makeAuth()
    expect(await codeOf(ask(makeAuth({ publicUrl: null }), await requestOf(node)))).toBe('PUBLIC_URL_MISSING')
    expect(await codeOf(auth.authenticate(await requestOf(node), ['operator'], 'route', NOW))).toBe(
      'REQUEST_SIGNATURE_ROUTE',
    )
    expect(done).toEqual(['refused role'])
  })
})

describe('the nonce of a node', () => {
  it('is good once, for its own key', async () => {
    const made = makeAuth()
    const nonce = `0x${'ab'.repeat(16)}`
    const request = await requestOf(node, { nonce })
    expect(await codeOf(ask(made, request))).toBe('taken')
    expect(await codeOf(ask(made, request))).toBe('REQUEST_REPLAYED')
    expect(await codeOf(ask(made, await requestOf(operator(5), { nonce })))).toBe('taken')
  })

  it('that is replayed takes nothing from the node, and is refused by address when there are many', async () => {
    const made = makeAuth()
    const replayed = await requestOf(node)
    await ask(made, replayed)
    const codes = []
    for (let count = 0; count < 1500; count++) codes.push(await codeOf(ask(made, replayed)))
    expect(codes.filter((code) => code === 'REQUEST_REPLAYED')).toHaveLength(1000)
    expect(codes.at(-1)).toBe('RATE_LIMIT')
    // The node itself, from where it is: its bucket is as full as it was.
    const outcomes = []
    for (let count = 0; count < 1000; count++)
      outcomes.push(await codeOf(ask(made, await requestOf(node, {}, { address: '192.0.2.2' }))))
    expect(outcomes.filter((code) => code === 'taken')).toHaveLength(999)
    expect(outcomes.at(-1)).toBe('RATE_LIMIT')
    const next = await requestOf(node, {}, { address: '192.0.2.2' })
    expect(await codeOf(ask(made, next, NOW + 0.0199))).toBe('RATE_LIMIT')
    expect(await codeOf(ask(made, next, NOW + 0.0201))).toBe('taken')
    expect(await codeOf(ask(made, replayed, NOW + 0.05))).toBe('REQUEST_REPLAYED')
  })
})

describe('who claims to be an operator', () => {
  it('takes nothing from it', async () => {
    const made = makeAuth()
    const claimed = await requestOf(operator(5, 1))
    const codes: string[] = []
    for (let count = 0; count < 1000; count++) {
      codes.push(await codeOf(ask(made, claimed)))
      // What is right costs the address nothing, and pays for nothing.
      if (count < 2) expect(await codeOf(ask(made, await requestOf(operator(5))))).toBe('taken')
    }
    expect(new Set(codes)).toEqual(new Set(['OPERATOR_FOREIGN']))
    made.done.length = 0
    expect(await codeOf(ask(made, claimed))).toBe('RATE_LIMIT')
    expect(await codeOf(ask(made, claimed, NOW + 0.00995))).toBe('RATE_LIMIT')
    expect(made.done).toEqual([])
    expect(await codeOf(ask(made, claimed, NOW + 0.0101))).toBe('OPERATOR_FOREIGN')
    const own = await requestOf(operator(5), {}, { address: '192.0.2.2' })
    expect(await codeOf(ask(made, own))).toBe('taken')
  })
})

describe('a body', () => {
  const body = '{"share_index":3,"shares":[]}'

  it('that is named in the headers is its sender’s from the first byte, and must be the one that was signed', async () => {
    const made = makeAuth()
    const request = await requestOf(node, { path: '/signatures', body })
    expect((await ask(made, request)).shareIndexes).toEqual([3])
    const hashOf = (text: string) => new Uint8Array(sha256(text))
    await expect(request.bodyProof?.check(hashOf(`${body} `))).rejects.toMatchObject({ code: 'REQUEST_BODY' })
    expect(request.bodyProof?.isDone).toBe(false)
    await request.bodyProof?.check(hashOf(body))
    expect(request.bodyProof?.isDone).toBe(true)
  })

  it('that is not is a stranger’s until it is read', async () => {
    const made = makeAuth()
    const request = await requestOf(node, { path: '/signatures', body, hasDigest: false })
    expect(await ask(made, request)).toBe(UNPROVEN)
    expect(made.done).toEqual([])
    await expect(request.bodyProof?.check(new Uint8Array(32))).rejects.toMatchObject({ code: 'NODE_UNKNOWN' })
    request.countAs = (account) => {
      request.account = account
    }
    await request.bodyProof?.check(new Uint8Array(sha256(body)))
    expect(request.caller).toMatchObject({ shareIndexes: [3] })
    expect(request.account).toEqual({ group: 'sidecar', name: request.caller.name })
  })

  it('that is none needs no proof', async () => {
    const request = await requestOf(node)
    for (const length of [undefined, '0']) {
      if (length !== undefined) request.headers['content-length'] = length
      expect((await ask(makeAuth(), request)).shareIndexes).toEqual([3])
      expect(request.bodyProof).toBeUndefined()
    }
  })

  it('that is large, or of no known length, or whose digest is none, is not read', async () => {
    const large = await requestOf(node, { body, hasDigest: false })
    large.headers['content-length'] = String(1024 * 1024 + 1)
    const chunked = await requestOf(node, { body, hasDigest: false })
    delete chunked.headers['content-length']
    chunked.headers['transfer-encoding'] = 'chunked'
    const odd = await requestOf(node, { body })
    odd.headers['content-digest'] = 'sha-512=:AAAA:'
    const short = await requestOf(node, { body })
    short.headers['content-digest'] = 'sha-256=:AAAA:'
    for (const request of [large, chunked, odd, short])
      expect(await codeOf(ask(makeAuth(), request))).toBe('CONTENT_DIGEST')
    large.headers['content-length'] = String(1024 * 1024)
    expect(await ask(makeAuth(), large)).toBe(UNPROVEN)
  })
})
