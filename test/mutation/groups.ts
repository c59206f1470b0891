/** The critical code by groups, and which tests hold each of its files. */

export interface Group {
  name: string
  /** Files of it begin with one of these. */
  sources: readonly string[]
  /** Folders or files of tests on a database, a chain or processes, tried after the unit tests that import the file. */
  tests(file: string): readonly string[]
}

const integration = (...rooms: string[]) => rooms.map((room) => `test/integration/${room}/`)

/** Rooms of the relayer whose tests stand under another name, or under several. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  registrations: ['registrations', 'manager'],
  sealing: ['database'],
  auth: ['oracles', 'http'],
}

/** Tables by their queries. */
const QUERIES: readonly [RegExp, readonly string[]][] = [
  [/manager-signatures/, ['manager']],
  [/oracle-(fetch|shares)/, ['oracles', 'exits']],
  [/registr(y|ations)/, ['deposit-registry', 'registrations']],
  [/registered|retention/, ['beacon-status', 'exits']],
  [/rotations/, ['rotation']],
  [/clusters|validators/, ['clusters', 'registrations']],
  [/message-keys|state/, ['database']],
  [/./, ['signatures', 'exits', 'registrations']],
]

export const GROUPS: readonly Group[] = [
  { name: 'libs/crypto', sources: ['libs/crypto/src/'], tests: () => [] },
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
      'apps/sidecar/src/signing/',
      'apps/sidecar/src/lists/',
      'apps/sidecar/src/keystores/',
    ],
    tests: () => integration('sidecar'),
  },
  {
    name: 'libs/db SQL',
    sources: ['libs/db/src/queries/'],
    tests: (file) => integration(...(QUERIES.find(([pattern]) => pattern.test(file))?.[1] ?? [])),
  },
  {
    name: 'apps/relayer',
    sources: ['apps/relayer/src/services/', 'apps/relayer/src/http/auth/', 'apps/relayer/src/crypto-workers/'],
    tests: (file) => {
      const room = /(?:services|http)\/([a-z-]+)\//.exec(file)?.[1] ?? 'signatures'
      return integration(...(ROOMS[room] ?? [room]))
    },
  },
]
