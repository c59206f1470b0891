import { createCipheriv } from 'node:crypto'
import { readCar } from '@dvt-relayer/chain/ipfs/car.ts'
import { createIpfsClient, type IpfsOptions } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import { type Layout, sha256 } from '@dvt-relayer/chain/ipfs/unixfs.ts'
import { fetchOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { blocksOf, type Ipfs, type IpfsQuirks, startIpfs } from '../../support/chain/ipfs.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { readFixtureBytes, readFixtureJson } from '../../support/keys/fixtures.ts'

const oracles = makeOracles(11)
const config = oracleConfig(oracles, 7)
const hostile = oracleConfig(makeOracles(11), 7)
/** A CID that nothing can be compared with: another hash. */
const OPAQUE = `bafkrgq${'a'.repeat(104)}`

function clientOf(gateways: readonly { url: string }[], options: Partial<IpfsOptions> = {}) {
  const endpoints = gateways.map(({ url }) => url)
  return createIpfsClient({
    endpoints,
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    ...options,
  })
}

describe('the oracle config of a CID', () => {
  it.each([0, 1] as const)('is fetched, verified and read (version %i)', async (version) => {
    await using gateway = await startIpfs()
    const cid = gateway.add(config, version)
    for (const prefix of ['', 'ipfs://', '/ipfs/']) {
      const found = await fetchOracleConfig(clientOf([gateway]), `${prefix}${cid}`)
      expect(found.verification).toBe('verified')
      expect(found.config.threshold).toBe(7)
      expect(found.config.oracles.map(({ publicKey }) => toHex(publicKey))).toEqual(
        oracles.map(({ publicKey }) => toHex(publicKey)),
      )
    }
    expect(new Set(gateway.requests)).toEqual(new Set([`GET /ipfs/${cid}`]))
  })

  it.each([0, 1] as const)('is never the set of a hostile gateway (version %i)', async (version) => {
    await using bad = await startIpfs()
    await using worse = await startIpfs()
    await using good = await startIpfs()
    const cid = good.add(config, version)
    bad.put(cid, hostile)
    worse.put(cid, oracleConfig(makeOracles(3), 1))
    const found = await fetchOracleConfig(clientOf([bad, worse, good]), cid)
    expect(found.verification).toBe('verified')
    expect(toHex(found.config.oracles[0]?.publicKey ?? new Uint8Array())).toBe(
      toHex(oracles[0]?.publicKey ?? new Uint8Array()),
    )
    const code = version === 0 ? 'IPFS_UNVERIFIED' : 'IPFS_UNAVAILABLE'
    await expect(fetchOracleConfig(clientOf([bad, worse]), cid)).rejects.toMatchObject({ code })
  })

  it('is not proven by gateways that agree, and only one that stands alone is asked to be believed', async () => {
    await using a = await startIpfs()
    await using b = await startIpfs()
    const named = a.add(config)
    for (const cid of [OPAQUE, named]) {
      a.put(cid, hostile)
      b.put(cid, hostile)
      for (const gateways of [
        [a, b],
        [a, a],
        [a, b, b],
      ])
        await expect(fetchOracleConfig(clientOf(gateways), cid)).rejects.toMatchObject({ code: 'IPFS_UNVERIFIED' })
      expect((await fetchOracleConfig(clientOf([b]), cid)).verification).toBe('unverified')
    }
    a.put(OPAQUE, config)
    await expect(fetchOracleConfig(clientOf([a, b]), OPAQUE)).rejects.toMatchObject({ code: 'IPFS_UNVERIFIED' })
    b.fail('down')
    await expect(fetchOracleConfig(clientOf([a, b]), OPAQUE)).rejects.toMatchObject({ code: 'IPFS_UNVERIFIED' })
  })

  it.each(['down', 'slow', 'garbage', { status: 404 }, { status: 500 }] as const)(
    'comes from the next gateway when one is %j',
    async (how) => {
      await using first = await startIpfs([config])
      await using second = await startIpfs()
      const cid = second.add(config)
      first.fail(how)
      const options = how === 'slow' ? { timeoutMs: 1_500 } : {}
      expect((await fetchOracleConfig(clientOf([first, second], options), cid)).verification).toBe('verified')
      // One that may have it in another form is asked for that.
      expect(first.requests).toHaveLength(how === 'garbage' || (typeof how === 'object' && how.status === 404) ? 3 : 1)
    },
  )

  it('is asked for again until a gateway has it, within the time', async () => {
    await using gateway = await startIpfs()
    const cid = gateway.add(config)
    gateway.fail({ status: 504 })
    let results = 0
    const onResult = () => {
      if (++results === 3) gateway.fail(undefined)
    }
    await fetchOracleConfig(clientOf([gateway], { retryTimeoutMs: 60_000, onResult }), cid)
    gateway.fail('down')
    await expect(fetchOracleConfig(clientOf([gateway], { retryTimeoutMs: 20 }), cid)).rejects.toMatchObject({
      code: 'IPFS_UNAVAILABLE',
    })
  })

  it('is asked for once while the pause before the next round lasts', async () => {
    await using gateway = await startIpfs()
    const cid = gateway.add(config)
    gateway.fail({ status: 504 })
    const abort = new AbortController()
    const { promise: isAsked, resolve: onResult } = Promise.withResolvers<void>()
    const backoffMs = { first: 600_000, most: 600_000 }
    const client = clientOf([gateway], { retryTimeoutMs: 3_600_000, backoffMs, onResult: () => onResult() })
    const pending = fetchOracleConfig(client, cid, abort.signal)
    await isAsked
    // Others are answered meanwhile.
    for (let other = 0; other < 3; other++) await fetch(`${gateway.url}/ipfs/other`)
    const asked = gateway.requests.filter((request) => request.includes(cid))
    abort.abort()
    await expect(pending).rejects.toMatchObject({ code: 'IPFS_UNAVAILABLE' })
    expect(asked).toHaveLength(1)
  })

  it('is given up when the signal says so', async () => {
    await using gateway = await startIpfs()
    gateway.fail('slow')
    const abort = new AbortController()
    const pending = fetchOracleConfig(
      clientOf([gateway], { retryTimeoutMs: 60_000 }),
      gateway.add(config),
      abort.signal,
    )
    abort.abort()
    await expect(pending).rejects.toMatchObject({ code: 'IPFS_UNAVAILABLE' })
  })

  it('is refused when the true content is no oracle config, too large, or the CID is none', async () => {
    await using gateway = await startIpfs()
    const text = (value: string) => new TextEncoder().encode(value)
    for (const content of [text('not json'), text('null'), { ...config, exit_signature_recover_threshold: 12 }])
      await expect(fetchOracleConfig(clientOf([gateway]), gateway.add(content))).rejects.toMatchObject({
        code: 'ORACLE_CONFIG_INVALID',
      })
    const cid = gateway.add(config)
    await expect(fetchOracleConfig(clientOf([gateway], { maxBytes: 100 }), cid)).rejects.toMatchObject({
      code: 'IPFS_UNAVAILABLE',
    })
    for (const wrong of ['', '../../secret', `${cid}/..`, `${cid}?x`])
      await expect(fetchOracleConfig(clientOf([gateway]), wrong)).rejects.toMatchObject({ code: 'IPFS_CID_INVALID' })
    expect(gateway.requests.every((request) => request.startsWith('GET /ipfs/Qm'))).toBe(true)
  })

  it('names gateways by host only', async () => {
    await using gateway = await startIpfs()
    gateway.fail('down')
    const url = `${gateway.url.replace('http://', 'http://user:s3cret@')}/k3y`
    const error = await fetchOracleConfig(clientOf([{ url }]), gateway.add(config)).catch((reason: unknown) => reason)
    expect(String(error)).toContain(new URL(gateway.url).host)
    expect(String(error)).not.toMatch(/s3cret|k3y/)
  })
})

/** Some dozens of blocks, in three levels. */
const NARROW: Layout = { chunkBytes: 300, width: 5, leaf: 'raw' }
/** A layout that no bare content is recognized by. */
const ODD: Layout = { chunkBytes: 300, width: 5, leaf: 'file' }
/** As another implementation cuts and orders them; see test/fixtures/README.md. */
const roots = readFixtureJson('ipfs/roots.json') as Record<string, string>
const stream = createCipheriv('aes-128-ctr', new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(3000))
const bytes = new TextEncoder().encode(JSON.stringify(config))
const invented = new TextEncoder().encode(JSON.stringify(hostile))
const what = 'the content'

describe('content in blocks', () => {
  it.each(['raw', 'car'] as const)('of another implementation is proven, served as %s', async (form) => {
    await using gateway = await startIpfs()
    gateway.setQuirks({ forms: [form] })
    for (const [name, cid] of Object.entries(roots)) {
      gateway.addBlocks(cid, [...readCar(readFixtureBytes(`ipfs/${name}.car`)).values()], stream)
      const { content, verification } = await clientOf([gateway]).fetchContent(cid, { what })
      expect([name, verification, Buffer.compare(content, stream)]).toEqual([name, 'verified', 0])
    }
  })

  it('is proven by a CID in whatever base and version', async () => {
    await using gateway = await startIpfs()
    for (const version of [0, 1] as const)
      for (const layout of [NARROW, ODD]) {
        const cid = CID.parse(gateway.add(bytes, version, layout)).toV1()
        for (const text of [cid.toString(), cid.toString(base58btc)])
          expect((await clientOf([gateway]).fetchContent(text, { what })).verification).toBe('verified')
      }
  })

  /** What is served, and what is answered to the rest. */
  const served: [string, IpfsQuirks, layout: Layout | undefined][] = [
    ['raw blocks alone', { forms: ['raw'] }, ODD],
    ...([400, 404, 406, 501, 'html'] as const).flatMap((otherwise): [string, IpfsQuirks, Layout | undefined][] => [
      [`an archive alone, ${otherwise} otherwise`, { forms: ['car'], otherwise }, ODD],
      [`bare bytes alone, ${otherwise} otherwise`, { forms: ['plain'], otherwise }, undefined],
    ]),
    ['bare bytes whatever is asked for', { forms: ['plain'], otherwise: 'plain' }, undefined],
  ]

  it.each(served)('is proven at a gateway that serves %s', async (_, quirks, layout) => {
    await using gateway = await startIpfs()
    gateway.setQuirks(quirks)
    for (const version of [0, 1] as const) {
      const cid = gateway.add(bytes, version, layout)
      const { content, verification } = await clientOf([gateway]).fetchContent(cid, { what })
      expect([verification, Buffer.compare(content, bytes)]).toEqual(['verified', 0])
    }
  })

  it('is proven as bare bytes where they are too large for a block', async () => {
    await using gateway = await startIpfs()
    gateway.setQuirks({ forms: ['plain'], otherwise: 'plain' })
    const large = new Uint8Array(3 * 1024 * 1024).map((_, position) => position % 251)
    const found = await clientOf([gateway]).fetchContent(gateway.add(large, 1), { what, maxBytes: large.length })
    expect([found.verification, Buffer.compare(found.content, large)]).toEqual(['verified', 0])
  })

  it('is put together from gateways of which each lacks some blocks', async () => {
    await using a = await startIpfs()
    await using b = await startIpfs()
    const cid = a.add(bytes, 1, NARROW)
    b.add(bytes, 1, NARROW)
    const root = toHex(CID.parse(cid).multihash.digest)
    const half = (digest: string) => Number.parseInt(digest.slice(-1), 16) % 2
    a.setQuirks({
      forms: ['raw'],
      block: (block, digest) => (digest === root || half(digest) === 0 ? block : undefined),
    })
    b.setQuirks({
      forms: ['raw'],
      block: (block, digest) => (digest !== root && half(digest) === 1 ? block : undefined),
    })
    const { content } = await clientOf([a, b], { retryTimeoutMs: 60_000 }).fetchContent(cid, { what })
    expect(Buffer.compare(content, bytes)).toBe(0)
  })

  it('is given up at a gateway that stops in the middle', async () => {
    await using gateway = await startIpfs()
    const cid = gateway.add(bytes, 1, NARROW)
    const root = toHex(CID.parse(cid).multihash.digest)
    gateway.setQuirks({
      block(block, digest) {
        if (digest !== root) gateway.fail('slow')
        return block
      },
    })
    const client = clientOf([gateway], { timeoutMs: 300 })
    await expect(client.fetchContent(cid, { what })).rejects.toMatchObject({
      code: 'IPFS_UNAVAILABLE',
      message: expect.stringContaining('HTTP_TIMEOUT'),
    })
  })
})

/** How a gateway is odd that has every other block. Its bare bytes are invented, and fit no layout that is recognized. */
const oddities: [string, (gateway: Ipfs, cid: string) => void][] = [
  ...[0, 1, 7, -1].map((position): [string, (gateway: Ipfs, cid: string) => void] => [
    `a wrong byte in block ${position}`,
    (gateway, cid) => {
      const wrong = digestsOf(cid).at(position)
      gateway.setQuirks({ block: (block, digest) => (digest === wrong ? flip(block) : block) })
    },
  ]),
  ...[0, 1, -1].map((position): [string, (gateway: Ipfs, cid: string) => void] => [
    `without block ${position}`,
    (gateway, cid) => {
      const missing = digestsOf(cid).at(position)
      gateway.setQuirks({ block: (block, digest) => (digest === missing ? undefined : block) })
    },
  ]),
  ['a wrong byte in every block', (gateway) => gateway.setQuirks({ block: flip })],
  [
    'two blocks swapped',
    (gateway, cid) => {
      const all = new Map<string | undefined, Uint8Array>(narrow.blocks.map((block) => [toHex(sha256(block)), block]))
      const [, one, other] = digestsOf(cid)
      gateway.setQuirks({
        block: (block, digest) => (digest === one ? all.get(other) : digest === other ? all.get(one) : block) ?? block,
      })
    },
  ],
  ['empty blocks', (gateway) => gateway.setQuirks({ block: () => new Uint8Array() })],
  ['blocks beyond any size', (gateway) => gateway.setQuirks({ block: () => new Uint8Array(3 * 1024 * 1024) })],
  [
    'an archive that is cut off',
    (gateway) =>
      gateway.setQuirks({ forms: ['car', 'plain'], archive: (archive) => archive.subarray(0, archive.length - 1) }),
  ],
  ['an archive with a wrong byte', (gateway) => gateway.setQuirks({ forms: ['car', 'plain'], archive: flip })],
  ['invented bytes alone', (gateway) => gateway.setQuirks({ forms: ['plain'] })],
  ['invented bytes for whatever is asked', (gateway) => gateway.setQuirks({ forms: ['plain'], otherwise: 'plain' })],
  ['HTML with 200', (gateway) => gateway.setQuirks({ forms: [], otherwise: 'html' })],
  ['no answer', (gateway) => gateway.fail('slow')],
  ['no connection', (gateway) => gateway.fail('down')],
  ...[404, 429, 503].map((status): [string, (gateway: Ipfs) => void] => [
    `status ${status}`,
    (gateway) => gateway.fail({ status }),
  ]),
]
const flip = (block: Uint8Array) => block.with(block.length >> 1, (block[block.length >> 1] ?? 0) ^ 1)
const narrow = blocksOf(bytes, 1, NARROW)
/** Of its blocks, the root first. */
const digestsOf = (cid: string) => [
  toHex(CID.parse(cid).multihash.digest),
  ...narrow.blocks.slice(0, -1).map((block) => toHex(sha256(block))),
]

describe.each(oddities)('with %s', (name, makeOdd) => {
  const options = name === 'no answer' ? { timeoutMs: 1_000 } : {}
  async function startOdd() {
    const gateway = await startIpfs()
    const cid = gateway.add(bytes, 1, NARROW)
    gateway.addBlocks(cid, [], invented)
    makeOdd(gateway, cid)
    return { gateway, cid, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() }
  }

  it('at one gateway the other is believed', async () => {
    await using odd = await startOdd()
    await using good = await startIpfs()
    good.add(bytes, 1, NARROW)
    for (const gateways of [
      [odd.gateway, good],
      [good, odd.gateway],
    ]) {
      const { content, verification } = await clientOf(gateways, options).fetchContent(odd.cid, { what })
      expect([verification, Buffer.compare(content, bytes)]).toEqual(['verified', 0])
    }
  })

  it('at all of them nothing is, until one is right again', async () => {
    await using odd = await startOdd()
    await using other = await startOdd()
    const gateways = [odd.gateway, other.gateway]
    await expect(clientOf(gateways, options).fetchContent(odd.cid, { what })).rejects.toMatchObject({
      code: expect.stringMatching(/^IPFS_(UNAVAILABLE|UNVERIFIED)$/),
    })
    let results = 0
    const onResult = () => {
      if (++results < 7) return
      other.gateway.fail(undefined)
      other.gateway.setQuirks({})
    }
    const patient = clientOf(gateways, { ...options, retryTimeoutMs: 60_000, onResult })
    const { content, verification } = await patient.fetchContent(odd.cid, { what })
    expect([verification, Buffer.compare(content, bytes)]).toEqual(['verified', 0])
  })
})

it('a gateway that sends on to another is believed as that one is', async () => {
  await using good = await startIpfs()
  await using bad = await startIpfs()
  await using sending = await startIpfs()
  const cid = good.add(bytes, 0, NARROW)
  bad.put(cid, invented)
  sending.setQuirks({ redirectTo: good.url })
  expect((await clientOf([sending]).fetchContent(cid, { what })).verification).toBe('verified')
  sending.setQuirks({ redirectTo: bad.url })
  await expect(clientOf([sending, bad]).fetchContent(cid, { what })).rejects.toMatchObject({ code: 'IPFS_UNVERIFIED' })
})

describe('any content', () => {
  const what = 'the registry dump'
  /** Three blocks of the default chunker. */
  const large = new Uint8Array(700_000).map((_, position) => position % 251)

  it.each([0, 1] as const)('of several blocks is verified (version %i)', async (version) => {
    await using bad = await startIpfs()
    await using good = await startIpfs()
    const cid = good.add(large, version)
    bad.put(cid, large.with(699_999, 0))
    const { content, verification } = await clientOf([bad, good]).fetchContent(cid, { what })
    expect([verification, Buffer.compare(content, large)]).toEqual(['verified', 0])
    await expect(clientOf([bad, bad]).fetchContent(cid, { what })).rejects.toMatchObject({ code: 'IPFS_UNVERIFIED' })
  })

  it('may be larger, take longer and be tried for longer than the client’s bounds, and not more than its own', async () => {
    await using gateway = await startIpfs()
    const cid = gateway.add(large)
    const client = clientOf([gateway], { maxBytes: 100, timeoutMs: 1 })
    const found = await client.fetchContent(cid, { what, maxBytes: 700_000, timeoutMs: 60_000 })
    expect(found.content).toHaveLength(700_000)
    const refused = { code: 'IPFS_UNAVAILABLE', message: expect.stringContaining(what) }
    const tooLarge = clientOf([gateway]).fetchContent(cid, { what, maxBytes: 699_999 })
    await expect(tooLarge).rejects.toMatchObject(refused)
    gateway.fail('slow')
    await expect(clientOf([gateway]).fetchContent(cid, { what, timeoutMs: 20 })).rejects.toMatchObject(refused)
    gateway.fail({ status: 504 })
    let results = 0
    const onResult = () => {
      if (++results === 3) gateway.fail(undefined)
    }
    const patient = clientOf([gateway], { onResult }).fetchContent(cid, { what, retryTimeoutMs: 60_000 })
    expect((await patient).verification).toBe('verified')
  })

  it('is named in the refusal of what is no CID', async () => {
    await using gateway = await startIpfs()
    const refused = { code: 'IPFS_CID_INVALID', message: expect.stringContaining(what) }
    await expect(clientOf([gateway]).fetchContent('../x', { what })).rejects.toMatchObject(refused)
  })
})
