/** The client of an oracle against replicas that lie, redirect, answer too much, or nothing. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { createOracleClient } from '@dvt-relayer/chain/stakewise/oracle-client.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { type Manner, someVault, startRotationOracle } from '../../support/stages/rotation.ts'

const network = networks.hoodi
const vault = fromHex(someVault(7), 20)
const request = {
  vault,
  publicKeys: [new Uint8Array(48).fill(1)],
  publicKeyShares: [[new Uint8Array(48).fill(2), new Uint8Array(48).fill(3)]],
  encryptedExitShares: [[new Uint8Array(193).fill(4), new Uint8Array(193).fill(5)]],
  deadline: 1_800_000_000,
  nonce: 2,
}

describe('an oracle', () => {
  it('is told whose shares are new, in the protocol’s words, and its approval is its own', async () => {
    await using oracle = await startRotationOracle(network)
    oracle.nonce = 2
    const { ipfsHash, signature } = await createOracleClient(network, oracle).approve(request)
    expect(ipfsHash).toMatch(/^Qm/)
    expect(signature).toHaveLength(65)
    expect(oracle.asked).toEqual([
      {
        vault_address: someVault(7),
        public_keys: [`0x${'01'.repeat(48)}`],
        public_key_shards: [[`0x${'02'.repeat(48)}`, `0x${'03'.repeat(48)}`]],
        exit_signature_shards: [[`0x${'04'.repeat(193)}`, `0x${'05'.repeat(193)}`]],
        deadline: 1_800_000_000,
      },
    ])
    // What it signed for another nonce is no approval of this one.
    oracle.nonce = 3
    await expect(createOracleClient(network, oracle).approve(request)).rejects.toMatchObject({
      code: 'ORACLE_ANSWER_WRONG',
    })
  })

  it.each([
    ['other_deadline', 'ORACLE_ANSWER_WRONG'],
    ['other_key', 'ORACLE_ANSWER_WRONG'],
    ['high_s', 'ORACLE_ANSWER_WRONG'],
    ['huge', 'HTTP_TOO_LARGE'],
    ['redirect', 'HTTP_REDIRECT'],
    ['refusing', 'HTTP_STATUS'],
  ] as const)('that is %s gives no approval, and another replica is asked', async (manner: Manner, code) => {
    await using bad = await startRotationOracle(network)
    Object.assign(bad, { manner, nonce: 2 })
    await expect(createOracleClient(network, bad).approve(request)).rejects.toMatchObject({ code })

    await using good = await startRotationOracle(network)
    good.nonce = 2
    const endpoints = ['ftp://nowhere', 'http://127.0.0.1:1', bad.url, good.url]
    await createOracleClient(network, { address: good.address, endpoints }).approve(request)
    expect(bad.requests).not.toContain('POST /elsewhere')
  })

  it('that another oracle speaks for has approved nothing', async () => {
    await using oracle = await startRotationOracle(network)
    await using stranger = await startRotationOracle(network)
    stranger.nonce = 2
    const replicas = { address: oracle.address, endpoints: [stranger.url] }
    await expect(createOracleClient(network, replicas).approve(request)).rejects.toMatchObject({
      code: 'ORACLE_ANSWER_WRONG',
    })
  })

  it('is believed what it says as of the vault’s last update, not before; a replica that is behind is passed over', async () => {
    await using behind = await startRotationOracle(network)
    await using oracle = await startRotationOracle(network)
    Object.assign(behind, { block: 99, outdated: [1, 2, 3] })
    Object.assign(oracle, { block: 100, outdated: [7, 5, 7] })
    const client = createOracleClient(network, { address: oracle.address, endpoints: [behind.url, oracle.url] })
    expect(await client.findOutdated(vault, 100)).toEqual({ blockNumber: 100, indexes: new Set([7, 5]) })
    expect(await client.findOutdated(vault, 99)).toEqual({ blockNumber: 99, indexes: new Set([1, 2, 3]) })
    await expect(client.findOutdated(vault, 101)).rejects.toMatchObject({ code: 'ORACLE_ANSWER_WRONG' })
    expect(oracle.requests[0]).toBe(`GET /signatures/${someVault(7)}`)
  })

  it('may have updated in the first block, and its first validator may be outdated', async () => {
    await using oracle = await startRotationOracle(network)
    Object.assign(oracle, { block: 0, outdated: [0] })
    expect(await createOracleClient(network, oracle).findOutdated(vault, 0)).toEqual({
      blockNumber: 0,
      indexes: new Set([0]),
    })
  })

  it('is asked at eight of its replicas, and no more', async () => {
    await using oracle = await startRotationOracle(network)
    const away = 'http://127.0.0.1:1'
    const outdatedAt = (position: number) => {
      const endpoints = Array.from({ length: 12 }, (_, i) => (i === position ? oracle.url : away))
      return createOracleClient(network, { address: oracle.address, endpoints }).findOutdated(vault, 0)
    }
    expect((await outdatedAt(7)).indexes).toEqual(new Set())
    oracle.requests.length = 0
    await expect(outdatedAt(8)).rejects.toMatchObject({ code: 'HTTP_UNREACHABLE' })
    expect(oracle.requests).toEqual([])
  })

  it('without an endpoint that is http is not asked', async () => {
    for (const endpoints of [[], ['file:///etc/passwd', 'https//x', 'javascript:1']])
      await expect(
        createOracleClient(network, { address: someVault(1), endpoints }).findOutdated(vault, 0),
      ).rejects.toMatchObject({ code: 'ORACLE_ANSWER_WRONG' })
  })

  it('that never answers is given up with the signal', async () => {
    await using oracle = await startRotationOracle(network)
    oracle.manner = 'slow'
    const stop = new AbortController()
    const asked = createOracleClient(network, oracle).findOutdated(vault, 0, stop.signal)
    setImmediate(() => stop.abort())
    await expect(asked).rejects.toMatchObject({ code: 'HTTP_ABORTED' })
  })
})
