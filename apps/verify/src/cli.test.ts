import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfSecretKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { afterAll, describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../test/support/keys/fixtures.ts'
import { makeOracleShares } from '../../../test/support/keys/oracle-shares.ts'
import { runVerify } from './cli.ts'
import { type Command, VERDICTS } from './verdicts.ts'

const made = makeOracleShares()
const folder = mkdtempSync(join(tmpdir(), 'dvt-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A file with this text; its path. */
function file(name: string, value: unknown): string {
  const path = join(folder, name)
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
  return path
}
const config = file('config.json', made.text)
const set = file('set.json', made.set)
const item = file('item.json', made.item(3))
const keys = made.secretKeys.map((key, i) => file(`key-${i + 1}`, `${toHex(key)}\n`))
const [, , key = ''] = keys

async function run(args: readonly string[], stdin = '') {
  let [out, err] = ['', '']
  async function* input() {
    yield Buffer.from(stdin)
  }
  const code = await runVerify(args, {
    stdin: input(),
    stdout: (text) => {
      out += text
    },
    stderr: (text) => {
      err += text
    },
  })
  return { code, out, err }
}
const NETWORK = ['--network', 'mainnet']
const SHARE = ['verify-share', ...NETWORK, '--config', config, '--key-file', key]
const EXIT = ['verify-exit', ...NETWORK, '--config', config]
const answerOf = async (args: readonly string[], stdin = '') => JSON.parse((await run([...args, '--json'], stdin)).out)

describe('exit codes', () => {
  it('0: ok, in words and in JSON', async () => {
    const words = await run([...SHARE, '--share', item])
    expect(words).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^ok: .*place 3/) })
    expect(words.out).toContain('  config_is_named: true\n')
    const json = await run([...SHARE, '--share', item, '--json'])
    expect(json).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(json.out)).toMatchObject({ verdict: 'ok', message: expect.any(String), facts: { place: 3 } })
  })

  it('1: another verdict', async () => {
    const other = ['--key-file', keys[4] ?? '']
    expect(await run(['verify-share', ...NETWORK, '--config', config, ...other, '--share', item])).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^wrong_key: /),
    })
  })

  const wrong: [string, string[], RegExp][] = [
    ['no command', [], /^Usage/],
    ['an unknown command', ['verify'], /^Usage/],
    ['an unknown option', [...SHARE, '--share', item, '--key', '12'], /usage: Unknown option '--key'/],
    ['a stray text', [...SHARE, '--share', item, 'secretsecret'], /usage: there is a text/],
    ['a missing option', SHARE, /usage: --share is needed/],
    ['no network', ['verify-set', '--config', config, '--set', set], /usage: --network is needed/],
    ['a network that is none', ['verify-set', '--network', 'mainet', '--set', set], /usage: --network must be/],
    ['a CID that is none', [...SHARE, '--share', item, '--cid', 'abc'], /usage: --cid/],
    ['a number that is none', [...SHARE, '--share', item, '--validator-index', '1e3'], /usage: --validator-index/],
    [
      'a key that is none',
      [...SHARE, '--share', item, '--public-key', '0x12'],
      /usage: --public-key must be hex of 48/,
    ],
    [
      'two files from standard input',
      [...SHARE.slice(0, -2), '--key-file', '-', '--share', '-'],
      /usage: .*standard input/,
    ],
    ['a file that is not there', [...SHARE, '--share', join(folder, 'none')], /unreadable: --share: .*none .*ENOENT/],
    ['a file that is not JSON', [...SHARE, '--share', key], /unreadable: .*is not JSON/],
    [
      'a key file that holds no key',
      [...SHARE.slice(0, -1), item, '--share', item],
      /usage: .*keystore: give --password-file/,
    ],
    [
      'a key file with another text',
      [...SHARE.slice(0, -1), file('word', 'secretsecret'), '--share', item],
      /unreadable: .*secp256k1/,
    ],
    ['no key and no share', [...EXIT, '--set', set], /usage: --key-file or --share/],
    ['keys without a set', [...EXIT, '--key-file', key], /usage: --key-file needs --set/],
    ['a share without a place', [...EXIT, '--set', set, '--share', item], /usage: --share must be PLACE=FILE/],
    ['a share of no place', [...EXIT, '--set', set, '--share', `12=${item}`], /usage: --share must be PLACE=FILE/],
    [
      'shares of nobody',
      [...EXIT, '--share', `1=${file('share', `0x${'00'.repeat(96)}`)}`],
      /usage: --public-key is needed/,
    ],
    [
      'two keys of an owner',
      [...EXIT, '--owner-copy', item, '--key-file', key, '--key-file', key],
      /usage: --owner-copy takes one/,
    ],
  ]
  it.each(wrong)('2: %s', async (_, args, expected) => {
    const { code, out, err } = await run(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(expected)
    expect(err).not.toContain('secretsecret')
  })

  it.each([
    ['--key-file', [...SHARE.slice(0, -1), 'ab'.repeat(32), '--share', item]],
    ['--share', [...EXIT, '--set', set, '--share', `1=0x${'AB'.repeat(96)}`]],
  ])('2: a key or a share in the place of the file of %s is not repeated', async (option, args) => {
    const { code, out, err } = await run(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(`--${option.slice(2)}: <hex> cannot be read`)
  })

  it('2: in JSON as well', async () => {
    expect(await answerOf(['verify-set', ...NETWORK, '--config', config, '--set', key])).toEqual({
      verdict: 'unreadable',
      message: expect.any(String),
      facts: {},
    })
  })
})

describe('inputs', () => {
  it('come from standard input', async () => {
    expect((await run([...SHARE, '--share', '-'], JSON.stringify(made.set))).code).toBe(0)
    const fromKey = [...SHARE.slice(0, -1), '-', '--share', item]
    expect((await run(fromKey, toHex(made.secretKeys[2] ?? new Uint8Array()).slice(2))).code).toBe(0)
  })

  it('name the config by --cid, else by its bytes', async () => {
    const reformatted = file('pretty.json', JSON.stringify(JSON.parse(made.text), null, 2))
    const args = ['verify-share', ...NETWORK, '--key-file', key, '--share', item, '--config', reformatted]
    expect((await answerOf(args)).facts.config_is_named).toBe(false)
    expect((await answerOf([...args, '--cid', `ipfs://${made.cid}`])).facts.config_is_named).toBe(true)
    const other = 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG'
    expect((await answerOf([...args, '--cid', other])).verdict).toBe('stale_set')
    // A CID of the bytes themselves shows that these are others.
    const ofBytes = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
    expect(await answerOf([...args, '--cid', ofBytes])).toMatchObject({
      verdict: 'unreadable',
      message: expect.stringContaining('not the file that --cid names'),
    })
  })

  it('are a whole page: one share that is wrong is named', async () => {
    const bad = { ...made.item(3), validator_index: 1 }
    const page = file('page.json', { exit_shares: [made.item(3), bad], cursor: '1.1.1' })
    expect(await answerOf([...SHARE, '--share', page])).toMatchObject({
      verdict: 'not_a_share',
      message: expect.stringContaining('1 of 2'),
      facts: { shares: 2, ok: 1, reports: [{ verdict: 'ok' }, { verdict: 'not_a_share' }] },
    })
    const good = file('good.json', { exit_shares: [made.item(3), made.item(3)], cursor: '1.1.1' })
    expect(await answerOf([...SHARE, '--share', good])).toMatchObject({ verdict: 'ok', facts: { shares: 2, ok: 2 } })
  })

  it('are keystores', async () => {
    const { cases } = readFixtureJson('vectors/web3_keystore.json') as {
      cases: { name: string; password_file_text: string; private_key: string; keystore: object }[]
    }
    const [vector] = cases.filter(({ name }) => name.startsWith('pbkdf2'))
    if (vector === undefined) throw new Error('no keystore')
    const oracle = Buffer.from(vector.private_key.slice(2), 'hex')
    const publicKey = toHex(secp256k1.getPublicKey(oracle, false))
    const own = file('own.json', { oracles: [{ public_key: publicKey }], exit_signature_recover_threshold: 1 })
    const args = [
      'verify-share',
      ...NETWORK,
      '--config',
      own,
      '--share',
      item,
      '--key-file',
      file('wallet', vector.keystore),
    ]
    const password = ['--password-file', file('password', vector.password_file_text)]
    const answer = await answerOf([...args, ...password])
    expect(answer.facts.oracle).toBe(checksumAddress(addressOfSecretKey(oracle)))
    expect(await run([...args, '--password-file', file('other', 'secretsecret')])).toMatchObject({
      code: 2,
      out: '',
      err: expect.not.stringContaining('secretsecret'),
    })
    expect((await run(args)).err).toMatch(/give --password-file/)
  })

  it('are the networks of files', async () => {
    const devnet = file('devnet.json', {
      name: 'devnet',
      genesis_validators_root: toHex(made.network.genesisValidatorsRoot),
      genesis_fork_version: '0x00000000',
      capella_fork_version: '0x03000000',
      capella_epoch: made.network.capellaEpoch,
    })
    const answer = await answerOf(['verify-set', '--network', devnet, '--config', config, '--set', set])
    expect(answer).toMatchObject({ verdict: 'ok', facts: { network: 'devnet' } })
  })
})

describe('an exit', () => {
  const args = [...EXIT, '--set', set, ...keys.slice(0, 7).flatMap((path) => ['--key-file', path])]
  const signature = toHex(made.exitSignature)
  const signed = { message: { epoch: '194048', validator_index: '20551' }, signature }
  const shares = made.signatureShares.map((share) => toHex(share).slice(2))

  it('is not printed unasked, nor any share', async () => {
    for (const mode of [[], ['--json']]) {
      const { code, out, err } = await run([...args, ...mode])
      expect(code).toBe(0)
      for (const secret of [signature.slice(2), ...shares, ...made.secretKeys.map((one) => toHex(one).slice(2))])
        expect(out + err).not.toContain(secret)
    }
  })

  it('is printed alone with --print-exit, and as a field of the JSON', async () => {
    const { code, out, err } = await run([...args, '--print-exit'])
    expect({ code, exit: JSON.parse(out) }).toEqual({ code: 0, exit: signed })
    expect(err).toMatch(/^ok: /)
    expect(await answerOf([...args, '--print-exit'])).toMatchObject({ verdict: 'ok', exit: signed })
  })

  it('that is not there is not printed', async () => {
    const { code, out } = await run([...args.slice(0, -2), '--print-exit'])
    expect({ code, verdict: out.split(':')[0] }).toEqual({ code: 1, verdict: 'not_enough' })
  })

  it('comes from decrypted shares without a set, too', async () => {
    const plain = shares.slice(4).flatMap((share, i) => ['--share', `${i + 5}=${file(`share-${i + 5}`, share)}`])
    const who = ['--public-key', made.set.public_key, '--validator-index', '20551']
    expect((await run([...EXIT, ...plain, ...who])).code).toBe(0)
  })
})

describe('help', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

  it('tells the commands', async () => {
    const { code, out } = await run(['--help'])
    expect(code).toBe(0)
    for (const command of Object.keys(VERDICTS)) expect(out).toContain(command)
  })

  it.each(Object.keys(VERDICTS) as Command[])(
    '%s: options and verdicts, and the table of the README',
    async (command) => {
      const { code, out } = await run([command, '--help'])
      expect(code).toBe(0)
      for (const [verdict, meaning] of Object.entries(VERDICTS[command]))
        expect(out).toMatch(new RegExp(`  ${verdict} +${meaning}`))
      const rows = Object.entries(VERDICTS[command]).map(([verdict, meaning]) => `| \`${verdict}\` | ${meaning} |`)
      expect(readme.split(`### ${command}\n\n`)[1]?.split('\n\n')[0]?.trim()).toBe(
        ['| verdict | meaning |', '|---|---|', ...rows].join('\n'),
      )
    },
  )

  it('the licence in the package is that of the project', () => {
    const [own, whole] = ['../LICENSE', '../../../LICENSE'].map((path) =>
      readFileSync(new URL(path, import.meta.url), 'utf8'),
    )
    expect(own).toBe(whole)
  })
})
