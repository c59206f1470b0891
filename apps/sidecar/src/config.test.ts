import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

const good = { NETWORK: 'hoodi', RELAYER_ENDPOINT: 'https://relayer.example', OBOL_KEYSTORES_DIR: '/keys' }

describe('readConfig', () => {
  it('takes the defaults of docs/protocol.md#15-settings', () => {
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
    const read = () => readConfig({ RELAYER_ENDPOINT: 'ftp://name:secret@x', POLL_INTERVAL: '0', CLUSTER_TYPE: 'LIDO' })
    expect(read).toThrow(/4 problems/)
    for (const name of ['NETWORK', 'RELAYER_ENDPOINT', 'POLL_INTERVAL', 'CLUSTER_TYPE'])
      expect(read).toThrow(new RegExp(`- ${name} `))
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

  it('takes the template alone, without a place for the index too, and several nodes before one, as the existing sidecar', () => {
    const { OBOL_KEYSTORES_DIR: _, ...base } = good
    const read = (more: Record<string, string>) => readConfig({ ...base, ...more })
    const nodesOf = (more: Record<string, string>) =>
      read(more).config.obol.nodes.map(({ keystoresDir, nodeIndex }) => [keystoresDir, nodeIndex])
    const template = { OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}/validator_keys' }
    expect(nodesOf({ ...template, OBOL_NODE_INDEX: '2' })).toEqual([[resolve('n2/validator_keys'), 2]])
    expect(nodesOf({ OBOL_KEYSTORES_DIR_TEMPLATE: '/keys/node0' })).toEqual([['/keys/node0', undefined]])
    const fixed = { OBOL_KEYSTORES_DIR_TEMPLATE: 'node0/validator_keys', OBOL_NODE_INDEX: '0' }
    expect(nodesOf(fixed)).toEqual([[resolve('node0/validator_keys'), 0]])
    expect(read(fixed).warnings).toEqual([])
    const both = { ...template, OBOL_NODE_INDEX: '0', OBOL_NODE_INDEXES: '1,2' }
    expect(nodesOf(both)).toEqual([
      [resolve('n1/validator_keys'), 1],
      [resolve('n2/validator_keys'), 2],
    ])
    expect(read(both).warnings).toEqual(['OBOL_NODE_INDEX is ignored: OBOL_NODE_INDEXES goes before it'])
    expect(() => read({})).toThrow(/OBOL_KEYSTORES_DIR is required/)
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
    [{ OBOL_NODE_INDEXES: '0,1' }, /needs OBOL_KEYSTORES_DIR_TEMPLATE/],
    [{ OBOL_NODE_INDEXES: '1,1', OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}' }, /twice/],
    [{ OBOL_KEYSTORES_DIR_TEMPLATE: 'n{node_index}' }, /needs OBOL_NODE_INDEX/],
    [{ OBOL_KEYSTORES_DIR_TEMPLATE: 'n', OBOL_NODE_INDEXES: '1,2' }, /must contain \{node_index\}/],
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

describe('readConfig of an SSV operator', () => {
  const ssv = {
    NETWORK: 'hoodi',
    RELAYER_ENDPOINT: 'https://relayer.example',
    CLUSTER_TYPE: 'ssv',
    SSV_OPERATOR_KEY_FILE: '/key',
    EXECUTION_ENDPOINT: 'http://a.example, http://b.example',
  }

  it('needs a key and a place where key shares are found', () => {
    const { config, warnings } = readConfig(ssv)
    expect(warnings).toEqual([])
    expect(config.obol.nodes).toEqual([])
    expect(config.ssv).toEqual({
      operators: [{ keyFile: '/key', passwordFile: undefined, operatorId: undefined }],
      owners: [],
      keysharesFiles: [],
      proofsFiles: [],
      chain: {
        endpoints: [new URL('http://a.example'), new URL('http://b.example')],
        timeoutMs: 30_000,
        retryTimeoutMs: 60_000,
        stateFile: resolve('data/ssv-state.json'),
      },
    })
    expect(readConfig({ ...ssv, EXECUTION_ENDPOINT: '', SSV_KEYSHARES_FILES: 'a.json,dir' }).config.ssv).toMatchObject({
      keysharesFiles: [resolve('a.json'), resolve('dir')],
      chain: undefined,
    })
  })

  it('looks for keys again at every block of a chain, at every minute on disk, or as told', () => {
    const interval = (more: Record<string, string>) => readConfig(more).config.reloadIntervalMs
    expect(interval(ssv)).toBe(12_000)
    expect(interval({ ...ssv, EXECUTION_ENDPOINT: '', SSV_KEYSHARES_FILES: 'a' })).toBe(60_000)
    expect(interval(good)).toBe(60_000)
    expect(interval({ ...ssv, RELOAD_INTERVAL: '5' })).toBe(5000)
  })

  it('puts several operators into one process by the templates', () => {
    const { config } = readConfig({
      ...ssv,
      SSV_OPERATOR_KEY_FILE: '',
      SSV_OPERATOR_KEY_FILE_TEMPLATE: '/o/{operator_id}/key.json',
      SSV_OPERATOR_PASSWORD_FILE_TEMPLATE: '/o/{operator_id}/password',
      SSV_OPERATOR_IDS: '5, 9007199254740991',
    })
    expect(config.ssv?.operators).toEqual([
      { keyFile: '/o/5/key.json', passwordFile: '/o/5/password', operatorId: 5 },
      {
        keyFile: '/o/9007199254740991/key.json',
        passwordFile: '/o/9007199254740991/password',
        operatorId: Number.MAX_SAFE_INTEGER,
      },
    ])
  })

  it.each([
    [{ SSV_OPERATOR_KEY_FILE: '' }, /SSV_OPERATOR_KEY_FILE is required, for example/],
    [{ EXECUTION_ENDPOINT: '' }, /CLUSTER_TYPE=SSV needs EXECUTION_ENDPOINT, .* or SSV_KEYSHARES_FILES, or both/],
    [{ NETWORK: 'gnosis' }, /EXECUTION_ENDPOINT is set, but NETWORK=gnosis has no SSV contract/],
    [{ SSV_OPERATOR_ID: '1', SSV_OPERATOR_IDS: '1' }, /SSV_OPERATOR_ID and SSV_OPERATOR_IDS are both set: keep one/],
    [{ SSV_OPERATOR_IDS: '1,2' }, /SSV_OPERATOR_IDS needs SSV_OPERATOR_KEY_FILE_TEMPLATE/],
    [{ SSV_OPERATOR_IDS: '1,1' }, /SSV_OPERATOR_IDS names an operator twice/],
    [{ SSV_OPERATOR_ID: '0' }, /SSV_OPERATOR_ID must be a whole number from 1/],
    [{ SSV_OPERATOR_ID: '9007199254740992' }, /SSV_OPERATOR_ID must be a whole number from 1/],
    [{ SSV_OPERATOR_KEY_FILE_TEMPLATE: '/{operator_id}' }, /KEY_FILE and SSV_OPERATOR_KEY_FILE_TEMPLATE are both set/],
    [{ SSV_OPERATOR_PASSWORD_FILE_TEMPLATE: '/x', SSV_OPERATOR_ID: '1' }, /TEMPLATE must contain \{operator_id\}/],
    [{ SSV_OPERATOR_PASSWORD_FILE_TEMPLATE: '/{operator_id}' }, /TEMPLATE needs SSV_OPERATOR_ID or SSV_OPERATOR_IDS/],
    [{ SSV_PROOFS_FILES: 'p' }, /SSV_PROOFS_FILES needs SSV_KEYSHARES_FILES/],
    [{ SSV_OWNERS: '0x12' }, /SSV_OWNERS must be addresses of owners, which 0x12… is not/],
  ])('refuses %o', (more, message) => {
    expect(() => readConfig({ ...ssv, ...more })).toThrow(message)
  })

  it('says which name was meant, also where its absence is the problem', () => {
    const { EXECUTION_ENDPOINT: _, ...base } = ssv
    expect(() => readConfig({ ...base, SSV_KEYSHARES_FILE: './keyshares.json' })).toThrow(
      /needs EXECUTION_ENDPOINT[\s\S]*SSV_KEYSHARES_FILE is not a setting: did you mean SSV_KEYSHARES_FILES\?/,
    )
    expect(readConfig({ ...ssv, SSV_KEYSHARES_FILE: './keyshares.json' }).warnings).toEqual([
      'SSV_KEYSHARES_FILE is not a setting: did you mean SSV_KEYSHARES_FILES?',
    ])
  })

  it('notes settings of the other kind of cluster', () => {
    expect(readConfig({ ...ssv, OBOL_KEYSTORES_DIR: '/keys' }).warnings).toEqual([
      'OBOL_KEYSTORES_DIR is ignored: it means nothing with CLUSTER_TYPE=SSV',
    ])
    expect(readConfig({ ...good, SSV_OWNERS: '', EXECUTION_ENDPOINT: 'http://a.example' }).warnings).toEqual([
      'EXECUTION_ENDPOINT is ignored: it means nothing with CLUSTER_TYPE=OBOL',
    ])
  })
})
