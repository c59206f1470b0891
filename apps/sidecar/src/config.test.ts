import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

const good = { NETWORK: 'hoodi', RELAYER_ENDPOINT: 'https://relayer.example', OBOL_KEYSTORES_DIR: '/keys' }

describe('readConfig', () => {
  it('takes the defaults of protocol section 15', () => {
    const { config, warnings } = readConfig(good)
    expect(warnings).toEqual([])
    expect(config.network.name).toBe('hoodi')
    expect(config.relayer).toMatchObject({ timeoutMs: 10_000, pollIntervalMs: 2000 })
    expect(config.obol).toEqual({
      nodes: [{ keystoresDir: '/keys', lockFile: undefined, nodeIndex: undefined }],
      lockHashes: [],
    })
    expect([config.consensus, config.http]).toEqual([undefined, undefined])
    expect([config.generation, config.lists]).toEqual(['auto', ['exits', 'validators']])
    expect(config.deposits).toEqual({ allowedVaults: [], journalFile: resolve('data/deposits.journal') })
    expect(config.log).toEqual({ level: 'info', format: 'plain' })
  })

  it('names every problem at once', () => {
    const read = () => readConfig({ RELAYER_ENDPOINT: 'ftp://name:secret@x', POLL_INTERVAL: '0', CLUSTER_TYPE: 'SSV' })
    expect(read).toThrow(/4 problems/)
    for (const name of ['NETWORK', 'RELAYER_ENDPOINT', 'POLL_INTERVAL', 'CLUSTER_TYPE'])
      expect(read).toThrow(new RegExp(`- ${name} `))
    expect(read).toThrow(/SSV yet/)
    expect(read).not.toThrow(/secret/)
  })

  it('puts several nodes into one process by the template', () => {
    const { config } = readConfig({
      ...good,
      OBOL_KEYSTORES_DIR: 'cluster',
      OBOL_KEYSTORES_DIR_TEMPLATE: 'node{node_index}/validator_keys',
      OBOL_NODE_INDEXES: '0, 3',
      OBOL_CLUSTER_LOCK_FILE: 'lock.json',
    })
    expect(config.obol.nodes).toEqual([
      { keystoresDir: resolve('cluster/node0/validator_keys'), lockFile: resolve('lock.json'), nodeIndex: 0 },
      { keystoresDir: resolve('cluster/node3/validator_keys'), lockFile: resolve('lock.json'), nodeIndex: 3 },
    ])
  })

  it('reads generation, vaults and journal', () => {
    const read = (more: Record<string, string>) => readConfig({ ...good, ...more }).config
    expect(read({ GENERATION: '3' }).lists).toEqual(['exits'])
    expect(read({ GENERATION: '4' }).lists).toEqual(['validators'])
    expect(read({ GENERATION: 'AUTO' }).generation).toBe('auto')
    expect(read({ JOURNAL_FILE: '/var/lib/x' }).deposits.journalFile).toBe('/var/lib/x')
    const vault = '8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
    const spellings = [`0x${vault}`, `0x${vault.toLowerCase()}`, ` ${vault.toUpperCase()}`]
    expect(read({ ALLOWED_VAULTS: spellings.join(',') }).deposits.allowedVaults).toEqual(
      Array.from(spellings, () => `0x${vault.toLowerCase()}`),
    )
  })

  it.each([
    [{ GENERATION: '5' }, /GENERATION must be one of auto, 3, 4/],
    [{ ALLOWED_VAULTS: '0x12' }, /ALLOWED_VAULTS must be addresses of vaults, which 0x12… is not/],
    [{ ALLOWED_VAULTS: '0x8ae5c1046158526Cf236f74D8FB88fabE2E94ACa' }, /0x8ae5c104… is not.* right checksum/],
    [{ OBOL_NODE_INDEX: '0', OBOL_NODE_INDEXES: '0' }, /keep one/],
    [{ OBOL_NODE_INDEXES: '0,1' }, /needs OBOL_KEYSTORES_DIR_TEMPLATE/],
    [{ OBOL_NODE_INDEXES: '1,1', OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}' }, /twice/],
    [{ OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}' }, /needs OBOL_NODE_INDEX/],
    [{ OBOL_KEYSTORES_DIR_TEMPLATE: 'n', OBOL_NODE_INDEX: '1' }, /must contain \{node_index\}/],
    [{ CLUSTER_LOCK_HASHES: '0x12' }, /CLUSTER_LOCK_HASHES must be a lock_hash/],
    [{ OBOL_NODE_INDEX: '256' }, /OBOL_NODE_INDEX must be a whole number/],
    [{ SIDECAR_PORT: '65536' }, /SIDECAR_PORT/],
  ])('refuses %o', (more, message) => {
    expect(() => readConfig({ ...good, ...more })).toThrow(message)
  })

  describe('remote signer', () => {
    const { OBOL_KEYSTORES_DIR: _, ...base } = good
    const remote = { ...base, REMOTE_SIGNER_URL: 'https://n:pw@a:9000/x, http://b', OBOL_CLUSTER_LOCK_FILE: '/lock' }

    it('needs a lock and no keystores', () => {
      const { config } = readConfig({ ...remote, OBOL_NODE_INDEXES: '0,2', REMOTE_SIGNER_CA_FILE: '/ca' })
      expect(config.remoteSigner).toEqual({
        urls: [new URL('https://n:pw@a:9000/x'), new URL('http://b')],
        timeoutMs: 10_000,
        tls: { caFile: '/ca', certFile: undefined, keyFile: undefined },
        obol: { lockFile: '/lock', nodeIndexes: [0, 2] },
      })
      expect(config.obol.nodes).toEqual([])
      expect(readConfig(good).config.remoteSigner).toBeUndefined()
    })

    it.each([
      [base, /OBOL_KEYSTORES_DIR is required.*or REMOTE_SIGNER_URL/],
      [{ ...remote, OBOL_KEYSTORES_DIR: '/keys' }, /both set: keep the one that holds the key shares/],
      [{ ...remote, OBOL_CLUSTER_LOCK_FILE: '' }, /OBOL_CLUSTER_LOCK_FILE is required with REMOTE_SIGNER_URL/],
      [{ ...remote, OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}' }, /means nothing with REMOTE_SIGNER_URL/],
      [{ ...remote, REMOTE_SIGNER_URL: 'https://u:p@a,https://a' }, /names a signer twice/],
      [{ ...remote, REMOTE_SIGNER_CERT_FILE: '/c' }, /belong together/],
      [{ ...good, REMOTE_SIGNER_CA_FILE: '/c' }, /need REMOTE_SIGNER_URL/],
      [{ ...remote, REMOTE_SIGNER_URL: 'http://a', REMOTE_SIGNER_CA_FILE: '/c' }, /must start with https/],
    ])('refuses %o', (environment, message) => {
      expect(() => readConfig(environment)).toThrow(message)
      expect(() => readConfig(environment)).not.toThrow(/pw/)
    })
  })

  it('notes what it ignores, and names that are one letter off', () => {
    const { warnings } = readConfig({ ...good, DATABASE: 'x', SENTRY_DSN: 'http://x', POLL_INTERVALS: '3' })
    expect(warnings.sort()).toEqual([
      'DATABASE is accepted and ignored',
      'POLL_INTERVALS is not a setting: did you mean POLL_INTERVAL?',
      'SENTRY_DSN is accepted and ignored',
    ])
  })
})
