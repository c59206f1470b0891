/** The critical code by groups, and which tests hold each of its files. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

export interface Group {
  name: string
  /** Folders, with all that is in them, and single files. */
  sources: readonly string[]
  /** Folders or files of tests on a database, a chain or processes, tried after the unit tests that import the file. */
  tests(file: string): readonly string[]
  /** Half of the house imports its files, and would notice little of them by chance: their own tests have to. */
  hasOwnTests?: true
}

/** Rooms whole, and single files of them. */
const integration = (...rooms: readonly string[]) =>
  rooms.map((room) => `test/integration/${room}${room.endsWith('.test.ts') ? '' : '/'}`)

/** Rooms of the relayer whose tests stand under another name, or under several. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  registrations: ['registrations', 'manager'],
  auth: ['oracles', 'http'],
  admission: ['http'],

  identity: ['http', 'clusters'],
}

/** Tests of the sidecar by its rooms: all together take longer than a run may. */
const SIDECAR: readonly [RegExp, readonly string[]][] = [
  [/keystores\/remote/, ['keystores/remote-signer.test.ts']],
  [/keystores\/keymanager/, ['keystores/keymanager.test.ts', 'keystores/reload.test.ts']],
  [/keystores\/ssv/, ['keystores/ssv.test.ts', 'keystores/ssv-oracles.test.ts']],
  [
    /keystores/,
    ['keys', 'reload', 'reload-signal', 'keymanager']
      .map((name) => `keystores/${name}.test.ts`)
      .concat('doctor.test.ts'),
  ],
  [/policy|bundle/, ['deposits', 'air-gap.test.ts', 'hostile.test.ts', 'process.test.ts', 'sidecar.test.ts']],
  [
    /./,
    ['hostile', 'hostile-bodies', 'generations', 'process', 'sidecar', 'deposits/deposits']
      .map((name) => `${name}.test.ts`)
      .concat('relayer'),
  ],
]

/** Tables by their queries. */
const QUERIES: readonly [RegExp, readonly string[]][] = [
  [/manager-signatures/, ['manager']],
  [/oracle-(fetch|shares)/, ['oracles', 'exits']],
  [/registr(y|ations)/, ['deposit-registry', 'registrations']],
  [/registered|retention/, ['beacon-status', 'exits']],
  [/rotations/, ['rotation']],
  [/clusters|validators/, ['clusters', 'registrations', 'charon']],
  [/node-keys/, ['http', 'clusters']],
  [/attendance/, ['attendance']],
  [/deposit-bindings/, ['registrations']],
  [/look/, ['signatures', 'beacon-status']],
  [/message-keys|state/, ['sealing', 'registrations/bindings.test.ts']],
  [/explain/, ['explain']],
  [/status/, ['status']],
  [/deposit-bindings/, ['registrations/bindings.test.ts', 'registrations/rows']],
  [
    /partial-signatures|announce|lists/,
    ['signatures', 'http/validators-list.test.ts', 'registrations/bindings.test.ts'],
  ],
  [
    /./,
    ['register', 'register-concurrent', 'register-lifetime', 'reservations']
      .map((name) => `registrations/${name}.test.ts`)
      .concat('signatures', 'exits'),
  ],
]

export const GROUPS: readonly Group[] = [
  { name: 'libs/crypto', sources: ['libs/crypto/src/'], tests: () => [] },
  {
    name: 'libs/common',
    sources: [
      'flow/fair-line',
      'json/pieces',
      'json/text',
      'flow/keyed-queue',
      'log/log-tally',
      'flow/rate',
      'flow/turns',
    ].map((name) => `libs/common/src/${name}.ts`),
    hasOwnTests: true,
    tests: () => [],
  },
  {
    name: 'libs/chain',
    sources: ['libs/chain/src/'],
    tests: (file) => [
      ...integration('chain'),
      ...(/ssv/.test(file) ? [...integration('clusters'), 'test/integration/sidecar/keystores/ssv.test.ts'] : []),
      ...(/deposit-contract|registry-dump/.test(file) ? integration('deposit-registry') : []),
      ...(/keeper|oracle-config/.test(file) ? integration('oracles', 'rotation') : []),
    ],
  },
  {
    name: 'apps/sidecar',
    sources: [
      'apps/sidecar/src/policy/',
      'apps/sidecar/src/bundle/',
      'apps/sidecar/src/signing/',
      'apps/sidecar/src/lists/',
      'apps/sidecar/src/keystores/',
    ],
    tests: (file) =>
      integration(...(SIDECAR.find(([pattern]) => pattern.test(file))?.[1] ?? []).map((test) => `sidecar/${test}`)),
  },
  {
    name: 'libs/db SQL',
    sources: ['libs/db/src/queries/'],
    tests: (file) => integration(...(QUERIES.find(([pattern]) => pattern.test(file))?.[1] ?? [])),
  },
  {
    name: 'apps/relayer',
    sources: [
      'apps/relayer/src/services/',
      'apps/relayer/src/http/admission/',
      'apps/relayer/src/http/auth/',
      'apps/relayer/src/crypto-workers/',
    ],
    tests: (file) => {
      if (file.endsWith('services/health.ts')) return integration('http', 'stores')
      if (/services\/database-(network|place)\.ts$/.test(file)) return integration('stores', 'copies')
      if (/clusters\/locks\.ts$/.test(file))
        return [...integration('clusters', 'charon'), 'test/integration/http/identity.test.ts']
      const room = /(?:services|http)\/([a-z-]+)\//.exec(file)?.[1] ?? 'signatures'
      return integration(...(ROOMS[room] ?? [room]))
    },
  },
]

/** The sources of a group, in a fixed order. */
export async function filesOf(root: string, { sources }: Group): Promise<string[]> {
  const files = await Promise.all(
    sources.map(async (source) =>
      source.endsWith('.ts')
        ? [source]
        : (await readdir(join(root, source), { recursive: true })).sort().map((name) => join(source, name)),
    ),
  )
  return files.flat().filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
}
