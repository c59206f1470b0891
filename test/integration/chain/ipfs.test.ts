import { createIpfsClient, type IpfsOptions } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import { fetchOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { startIpfs } from '../../support/chain/ipfs.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'

const oracles = makeOracles(11)
const config = oracleConfig(oracles, 7)
const hostile = oracleConfig(makeOracles(11), 7)
/** A CID whose content cannot be recomputed: another base. */
const OPAQUE = 'zdj7Wd8AMwqnhJGQCbFxBVodGSBG84TM7Hs1rcJuQMwTyfEDS'

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

  it('needs two gateways that agree, or one that stands alone, where the CID cannot be recomputed', async () => {
    await using a = await startIpfs()
    await using b = await startIpfs()
    await using c = await startIpfs()
    a.put(OPAQUE, hostile)
    b.put(OPAQUE, config)
    c.put(OPAQUE, config)
    const found = await fetchOracleConfig(clientOf([a, b, c]), OPAQUE)
    expect([found.verification, found.content.length]).toEqual(['agreed', JSON.stringify(config).length])
    expect(toHex(found.config.oracles[0]?.publicKey ?? new Uint8Array())).toBe(
      toHex(oracles[0]?.publicKey ?? new Uint8Array()),
    )
    expect((await fetchOracleConfig(clientOf([b]), OPAQUE)).verification).toBe('unverified')
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
      expect(first.requests).toHaveLength(1)
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
    await expect(clientOf([bad, bad]).fetchContent(cid, { what })).resolves.toMatchObject({ verification: 'agreed' })
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
