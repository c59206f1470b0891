import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Bundle,
  BUNDLE_EXIT_CODES as EXIT,
  makeBundle,
  readSignedBundle,
  writeBundle,
} from '@dvt-relayer/api/bundle.ts'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { loadFixtureCluster } from '../../../../test/support/keys/fixtures.ts'
import { signBundleCommand } from './command.ts'

const { nodes, expected } = loadFixtureCluster('cluster-4')
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sign-bundle-command-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(dir, { recursive: true, force: true })
})

const exit = (key: number, validator_index = key) => ({
  ...{ public_key: expected.validators[key]?.public_key ?? '', validator_index },
})
const pair = (key: number) => ({
  ...{ ...exit(key), vault: expected.withdrawal_address, amount: 32_000_000_000, validator_type: '0x01' as const },
})

/** Signs a bundle at node 0: the exit code, what is said on standard output and on standard error. */
async function run(items: Pick<Bundle, 'exits' | 'validators'>, signal = new AbortController().signal) {
  const owner = { network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH } as const, share_index: 1 }
  await writeBundle(join(dir, 'in.json'), makeBundle({ ...owner, made_at: '2026-01-02T03:04:05Z', ...items }))
  const log = vi.spyOn(console, 'log').mockReturnValue(undefined)
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const code = await signBundleCommand(
    ['--in', join(dir, 'in.json'), '--out', join(dir, 'out.json')],
    {
      ...{ NETWORK: 'hoodi', OBOL_KEYSTORES_DIR: nodes[0]?.keystoresDir ?? '', LOG_LEVEL: 'error' },
      JOURNAL_FILE: join(dir, 'journal'),
    },
    signal,
  )
  return { code, said: log.mock.calls.flat(), errors: written.mock.calls.map(([text]) => text) }
}

it.each<[string, Pick<Bundle, 'exits' | 'validators'>, number, string[]]>([
  [
    'all is signed',
    { exits: [exit(0), exit(1)], validators: [pair(2)] },
    0,
    ['3 validators signed for share index 1, 1 of them with a deposit'],
  ],
  ['an exit is signed', { exits: [exit(0)], validators: [] }, 0, ['1 validator signed for share index 1']],
  [
    'one is left out',
    { exits: [exit(0), exit(1, 2 ** 40)], validators: [] },
    EXIT.BUNDLE_PARTIAL,
    [
      '1 validator signed for share index 1',
      '  not signed: 1 validator: no validator can ever have this index',
      '1 validator left out; they stand in the next bundle if still wanted',
    ],
  ],
  [
    'none is signed',
    { exits: [exit(1, 2 ** 40)], validators: [] },
    EXIT.BUNDLE_REFUSED,
    [
      '0 validators signed for share index 1',
      '  not signed: 1 validator: no validator can ever have this index',
      '1 validator left out; they stand in the next bundle if still wanted',
    ],
  ],
])('says where %s, with a file and an exit code', async (_, items, code, lines) => {
  const outcome = await run(items)
  const said = [...lines, 'hand it in with: npm run relayer -- take-bundle'].join('\n')
  expect(outcome).toEqual({ code, said: [`${join(dir, 'out.json')}: ${said}`], errors: [] })
  expect((await readSignedBundle(join(dir, 'out.json'))).share_index).toBe(1)
})

it('that is stopped writes nothing, and says so', async () => {
  const outcome = await run({ exits: [exit(0)], validators: [] }, AbortSignal.abort())
  expect(outcome).toEqual({ code: 1, said: [], errors: ['stopped: nothing is written\n'] })
  expect(await readdir(dir)).toEqual(['in.json'])
})

it.each([[[]], [['--in', 'in.json']], [['--out', 'out.json']]])('wants both files, and had %j', async (args) => {
  await expect(signBundleCommand(args, {}, new AbortController().signal)).rejects.toMatchObject({ code: 'USAGE' })
})
