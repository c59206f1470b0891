import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

const KEY = '11'.repeat(32)
const minimal = {
  NETWORK: 'hoodi',
  EXECUTION_ENDPOINT: 'http://127.0.0.1:8545',
  CONSENSUS_ENDPOINT: 'http://127.0.0.1:5052',
  SIGNATURE_THRESHOLD: '3',
}

describe('readConfig', () => {
  it('groups and freezes what it reads', () => {
    const { config, warnings } = readConfig({ ...minimal, RELAYER_PORT: '0', CLUSTER_LOCK_FILES: 'a.json, b.json' })
    expect(config.network.name).toBe('hoodi')
    expect(config.http).toMatchObject({ host: '127.0.0.1', port: 0, maxBodyBytes: 16_777_216 })
    expect(config.clusters).toMatchObject({ signatureThreshold: 3, lockFiles: ['a.json', 'b.json'] })
    expect(config.limits).toEqual({ keys: 1000, shares: 20_000, openExits: 20_000 })
    expect(Object.isFrozen(config)).toBe(true)
    expect(warnings).toEqual([])
  })

  it('lists all problems at once', () => {
    expect(() => readConfig({ RELAYER_PORT: 'x', NETWORK: 'nowhere', REDIS_URL: 'http://a' })).toThrow(
      /NETWORK [\s\S]*RELAYER_PORT [\s\S]*EXECUTION_ENDPOINT is required[\s\S]*CONSENSUS_ENDPOINT is required[\s\S]*REDIS_URL must/,
    )
  })

  it('listens on [::1], and tells a DATABASE_URL that is not read as it is meant without any of it', () => {
    expect(readConfig({ ...minimal, RELAYER_HOST: '[::1]' }).config.http.host).toBe('::1')
    const read = () => readConfig({ ...minimal, DATABASE_URL: 'postgres://relayer:p@ss/w#rd@db.example/x' })
    expect(read).toThrow(/DATABASE_URL is not read as it is meant: percent-encode/)
    expect(read).not.toThrow(/ss\/w|w#rd|db\.example/)
  })

  it('knows each sslmode, in the one word that says what it does, and the files of TLS', () => {
    const read = (query: string) =>
      readConfig({ ...minimal, SEALING_KEY: KEY, DATABASE_URL: `postgres://relayer:x@db.example/x?${query}` }).config
        .storage.databaseUrl
    for (const mode of ['prefer', 'require', 'verify-ca', 'verify-full'])
      expect(read(`a=%20b&sslmode=${mode}`)).toBe('postgres://relayer:x@db.example/x?a=%20b&sslmode=verify-full')
    for (const query of ['sslmode=disable', 'sslmode=no-verify', 'uselibpqcompat=true&sslmode=require'])
      expect(read(query)).toBe(`postgres://relayer:x@db.example/x?${query}`)
    expect(() => read('sslmode=verify_full')).toThrow(
      /DATABASE_URL has an unknown sslmode: it is one of disable, .*verify-full/,
    )
    expect(() => read('sslmode=verify-full&sslrootcert=/nowhere/ca.pem')).toThrow(
      /DATABASE_URL names a file in sslrootcert that cannot be read \(ENOENT\)/,
    )
  })

  it('keeps the sealing key out of DATA_DIR also where its path is in quotes', () => {
    const dir = mkdtempSync(join(tmpdir(), 'config-'))
    const file = join(dir, 'key')
    writeFileSync(file, KEY)
    const real = { ...minimal, NETWORK: 'mainnet', DATA_DIR: dir, SEALING_KEY_FILE: `"${file}"` }
    expect(() => readConfig(real)).toThrow(/SEALING_KEY_FILE must lie outside DATA_DIR/)
    rmSync(dir, { recursive: true })
  })

  it('refuses one port for two things, where their hosts are not two', () => {
    const same = { ...minimal, RELAYER_PORT: '8002', METRICS_PORT: '8002' }
    for (const hosts of [{}, { RELAYER_HOST: '0.0.0.0' }, { METRICS_HOST: '::', RELAYER_HOST: '10.0.0.5' }])
      expect(() => readConfig({ ...same, ...hosts })).toThrow('METRICS_PORT and RELAYER_PORT are both 8002')
    readConfig({ ...same, RELAYER_HOST: '10.0.0.5' })
    readConfig({ ...same, METRICS_PORT: '8003' })
    readConfig({ ...minimal, RELAYER_PORT: '0', METRICS_PORT: '0' })
  })

  it('wants a threshold from somewhere', () => {
    expect(() => readConfig({ ...minimal, SIGNATURE_THRESHOLD: '' })).toThrow(
      'CLUSTER_LOCK_FILES, SSV_KEYSHARES_FILES, SSV_OWNERS or SIGNATURE_THRESHOLD is required',
    )
  })

  it('wants tokens where there is a wallet, or the word that there are none', () => {
    const manager = { VALIDATORS_MANAGER_KEY_FILE: './key', VALIDATORS_MANAGER_PASSWORD_FILE: './password' }
    const rotation = { ROTATION_WALLET_KEY_FILE: './key', ROTATION_WALLET_PASSWORD_FILE: './password' }
    for (const [name, wallet] of [
      ['VALIDATORS_MANAGER_KEY_FILE', manager],
      ['ROTATION_WALLET_KEY_FILE', rotation],
    ] as const) {
      const refusal = `${name} needs AUTH_TOKENS_FILE`
      expect(() => readConfig({ ...minimal, ...wallet })).toThrow(refusal)
      expect(() => readConfig({ ...minimal, ...wallet, WALLETS_WITHOUT_TOKENS: 'refused' })).toThrow(refusal)
      readConfig({ ...minimal, ...wallet, WALLETS_WITHOUT_TOKENS: 'loopback' })
      readConfig({ ...minimal, ...wallet, AUTH_TOKENS_FILE: './tokens' })
    }
    readConfig(minimal)
  })

  it('names the entry of an owner that is wrong, and the vault that has two', () => {
    const vault = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
    const other = `0x${'ab'.repeat(20)}`
    const key = '0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'
    const whole = `79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8`
    const read = (value: string) => readConfig({ ...minimal, OWNER_PUBLIC_KEYS: value }).config.owners
    const owners = read(`${vault}:${key}, ${other}:0x${whole},0x${'cd'.repeat(20)}:0x04${whole.toUpperCase()}`)
    expect(owners.map(({ publicKey }) => Buffer.from(publicKey).toString('hex'))).toEqual(Array(3).fill(`04${whole}`))
    for (const [wrong, what] of [
      [`${vault.replace('0x8A', '0x8a')}:${key}`, 'before the colon'],
      [`${vault}`, 'after the colon'],
      [`${vault}:`, 'after the colon'],
      [`${vault}:05${key.slice(2)}`, 'after the colon'],
      [`${vault}:${key}:1`, 'before the colon'],
    ])
      expect(() => read(`${other}:${key},${wrong}`), wrong).toThrow(
        new RegExp(`OWNER_PUBLIC_KEYS must[^]*${wrong?.slice(0, 10)}[^]*${what}`),
      )
    expect(() => read(`${vault}:${key},${vault.toLowerCase()}:${whole}`)).toThrow(`names the vault ${vault} twice`)
  })

  it('names the vault that is wrong in a list of them', () => {
    const good = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
    expect(readConfig({ ...minimal, VAULTS: `${good},${good.toLowerCase()}` }).config.vaults).toHaveLength(2)
    for (const wrong of [good.replace('0x8A', '0x8a'), good.slice(0, -1)])
      expect(() => readConfig({ ...minimal, VAULTS: `${good},${wrong}` })).toThrow(
        `VAULTS must be addresses of vaults, which ${wrong.slice(0, 10)}… is not`,
      )
  })

  it('wants the sealing key from outside where real money is at stake', () => {
    const mainnet = { ...minimal, NETWORK: 'mainnet' }
    expect(() => readConfig(mainnet)).toThrow('SEALING_KEY or SEALING_KEY_FILE is required on mainnet')
    expect(readConfig({ ...mainnet, SEALING_KEY: KEY }).config.storage.sealingKey).toHaveLength(32)
    const inside = { ...mainnet, DATA_DIR: '/tmp', SEALING_KEY_FILE: join('/tmp', 'key') }
    expect(() => readConfig(inside)).toThrow('SEALING_KEY')
    expect(() => readConfig({ ...minimal, DATABASE_URL: 'postgres://a/b' })).toThrow('required with DATABASE_URL')
  })

  it('reads a sealing key as hex and as base64, and never shows it', () => {
    const base64 = Buffer.alloc(32, 1).toString('base64')
    expect(readConfig({ ...minimal, SEALING_KEY: base64 }).config.storage.sealingKey).toEqual(
      new Uint8Array(32).fill(1),
    )
    expect(() => readConfig({ ...minimal, SEALING_KEY: 'canary' })).toThrow(
      /^(?![\s\S]*canary)[\s\S]*SEALING_KEY must be 32 bytes/,
    )
  })

  it('accepts names of the existing relayer with a note', () => {
    expect(readConfig({ ...minimal, DATABASE: 'x.db', SENTRY_DSN: 'y' }).warnings).toEqual([
      'DATABASE is accepted and ignored',
      'SENTRY_DSN is accepted and ignored',
    ])
    for (const [LOG_LEVEL, level] of [
      ['INFO', 'info'],
      ['WARNING', 'warn'],
      ['Critical', 'error'],
    ] as const)
      expect(readConfig({ ...minimal, LOG_LEVEL }).config.log.level).toBe(level)
    expect(() => readConfig({ ...minimal, LOG_LEVEL: 'loud' })).toThrow('LOG_LEVEL must be one of debug')
  })
})
