import { readFileSync } from 'node:fs'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import type { IpfsClient } from '../ipfs/ipfs.ts'
import { fetchOracleConfig, parseOracleConfig } from './oracle-config.ts'

interface ConfigVectors {
  valid: {
    name: string
    config: { exit_signature_recover_threshold: number; oracles: { endpoints: string[] }[] }
    uncompressed_public_keys: string[]
    addresses: string[]
  }[]
  invalid: { name: string; config: unknown }[]
}
const url = new URL('../../../../test/fixtures/vectors/oracle_config.json', import.meta.url)
const { valid, invalid } = JSON.parse(readFileSync(url, 'utf8')) as ConfigVectors

describe('vectors of other implementations', () => {
  it.each(valid)('takes: $name', ({ config, uncompressed_public_keys, addresses }) => {
    const { threshold, oracles } = parseOracleConfig(config)
    expect(threshold).toBe(config.exit_signature_recover_threshold)
    expect(oracles.map(({ publicKey }) => toHex(publicKey))).toEqual(uncompressed_public_keys)
    expect(oracles.map(({ address }) => address)).toEqual(addresses)
    expect(oracles.map(({ endpoints }) => endpoints)).toEqual(config.oracles.map(({ endpoints }) => endpoints))
  })

  it.each(invalid)('refuses: $name', ({ config }) => {
    let refusal: unknown
    try {
      parseOracleConfig(config)
    } catch (error) {
      refusal = error
    }
    expect(refusal).toBeInstanceOf(ChainError)
    expect(refusal).toHaveProperty('code', 'ORACLE_CONFIG_INVALID')
  })

  it('has enough cases', () => {
    expect(valid.length).toBeGreaterThanOrEqual(14)
    expect(invalid.length).toBeGreaterThanOrEqual(29)
  })
})

describe('fields that not everybody needs', () => {
  const config = valid[0]?.config

  it('are read', () => {
    expect(parseOracleConfig(config)).toMatchObject({
      exitSignatureEpoch: 194048,
      untilForceExitEpochs: 225,
      validatorsApprovalBatchLimit: 10,
      validatorsExitRotationBatchLimit: 100,
      signatureValidityPeriod: 120,
    })
  })

  it.each([undefined, null, '7', -1, 1.5, 2 ** 60])('are undefined when they are %j', (value) => {
    expect(parseOracleConfig({ ...config, exit_signature_epoch: value }).exitSignatureEpoch).toBeUndefined()
  })

  it('may be none', () => {
    expect(parseOracleConfig({ ...config, exit_signature_epoch: 0 }).exitSignatureEpoch).toBe(0)
  })

  it('leave out endpoints that are none', () => {
    const oracles = config?.oracles.map((oracle) => ({ ...oracle, endpoints: ['https://a.invalid', 5, 'not a url'] }))
    expect(parseOracleConfig({ ...config, oracles }).oracles[0]?.endpoints).toEqual(['https://a.invalid'])
    const none = config?.oracles.map((oracle) => ({ ...oracle, endpoints: undefined }))
    expect(parseOracleConfig({ ...config, oracles: none }).oracles[0]?.endpoints).toEqual([])
  })

  it('refuse a list beyond reason', () => {
    const parse = (length: number) =>
      parseOracleConfig({ ...config, oracles: Array.from({ length }, () => config?.oracles[0]) })
    expect(() => parse(257)).toThrow('257 oracles')
    expect(() => parse(256)).toThrow('the same public key')
  })
})

it('content that is no text in UTF-8 is none of a config', async () => {
  const fetchOf = (content: Uint8Array) =>
    fetchOracleConfig({ fetchContent: async () => ({ content, verification: 'verified' }) } satisfies IpfsClient, 'cid')
  await expect(fetchOf(Buffer.from('{"oracles":"\xff"}', 'latin1'))).rejects.toThrow('it is not JSON')
  await expect(fetchOf(Buffer.from('{"oracles":"x"}'))).rejects.toThrow('oracles is missing or not a list')
})
