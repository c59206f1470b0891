import { describe, expect, it } from 'vitest'
import { readConfig, readOfflineConfig } from '../config.ts'

const good = {
  NETWORK: 'hoodi',
  RELAYER_ENDPOINT: 'http://relayer',
  CONSENSUS_ENDPOINT: 'http://beacon',
  OBOL_CLUSTER_LOCK_FILE: '/lock',
  KEYMANAGER_URL: 'http://127.0.0.1:5062',
  KEYMANAGER_TOKEN: 'api-token-0xabc',
}

describe('the settings of a validator client', () => {
  it('name it, its token and the lock, and keep the sidecar to exits', () => {
    for (const more of [{}, { GENERATION: '3' }]) {
      const { config } = readConfig({ ...good, ...more, OBOL_NODE_INDEX: '2' })
      expect(config.keymanager).toEqual({
        url: new URL('http://127.0.0.1:5062'),
        token: 'api-token-0xabc',
        obol: { lockFile: '/lock', nodeIndexes: [2] },
      })
      expect([config.lists, config.obol.nodes, config.remoteSigner]).toEqual([['exits'], [], undefined])
    }
  })

  it.each([
    [{ KEYMANAGER_URL: '' }, /KEYMANAGER_TOKEN needs KEYMANAGER_URL/],
    [{ KEYMANAGER_TOKEN: '' }, /KEYMANAGER_TOKEN_FILE is required with KEYMANAGER_URL/],
    [{ KEYMANAGER_TOKEN: 'hush hush' }, /KEYMANAGER_TOKEN must be one line/],
    [{ KEYMANAGER_URL: 'http://u:hush@a' }, /KEYMANAGER_URL must have no credentials in it/],
    [{ CONSENSUS_ENDPOINT: '' }, /CONSENSUS_ENDPOINT is required with KEYMANAGER_URL/],
    [{ OBOL_CLUSTER_LOCK_FILE: '' }, /OBOL_CLUSTER_LOCK_FILE is required with KEYMANAGER_URL/],
    [{ OBOL_KEYSTORES_DIR: '/keys' }, /OBOL_KEYSTORES_DIR and KEYMANAGER_URL are both set/],
    [{ REMOTE_SIGNER_URL: 'https://a' }, /KEYMANAGER_URL and REMOTE_SIGNER_URL are both set/],
    [{ GENERATION: '4' }, /GENERATION=4 wants deposits, which a validator client does not sign/],
    [
      { CLUSTER_TYPE: 'SSV', SSV_OPERATOR_KEY_FILE: '/k', SSV_KEYSHARES_FILES: '/f' },
      /KEYMANAGER_URL means nothing with CLUSTER_TYPE=SSV/,
    ],
  ])('refuse %o', (more, message) => {
    const environment = { ...good, ...more }
    expect(() => readConfig(environment)).toThrow(message)
    expect(() => readConfig(environment)).not.toThrow(/hush/)
  })

  it('are nothing for a command that asks nobody', () => {
    expect(() => readOfflineConfig(good)).toThrow(/asks nobody.*\n.*CONSENSUS_ENDPOINT.*\n.*KEYMANAGER_URL/)
    const { config } = readOfflineConfig({ NETWORK: 'hoodi', OBOL_KEYSTORES_DIR: '/keys' })
    expect(config.network.name).toBe('hoodi')
  })
})
