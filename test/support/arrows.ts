/**
 * What stands above what in the house, and the lint rules that hold it. `ORDER` stands here once: test/boundaries.test.ts holds the
 * imports against it, and `npm run arrows` writes `biome.arrows.json` from it, which that test compares.
 */

import { writeFileSync } from 'node:fs'
import { posix } from 'node:path'

/**
 * For each part of the house its folders and files, top to bottom: each may import what stands below it, and a file belongs to the
 * first entry that names it or a folder above it. Whatever is new takes its place here; then `npm run arrows`.
 */
export const ORDER = {
  'apps/relayer/src': [
    'main.ts',
    'cli',
    'doctor',
    'relayer.ts',
    'background.ts',
    'files',
    'http',
    'jobs',
    'services/services.ts',
    'open.ts',
    'services/health.ts',
    'services/status',
    'services/explain',
    'services/rotation',
    'services/beacon-status',
    'services/charon',
    'services/clusters',
    'services/registrations',
    'services/identity',
    'services/exits',
    'services/signatures',
    'services/oracles',
    'services/deposit-registry',
    'services/sealing',
    'services/census',
    'services/database-place.ts',
    'services/attendance',
    'services/database-network.ts',
    'chain.ts',
    'unverified-content.ts',
    'context.ts',
    'crypto-workers',
    'errors.ts',
    'events.ts',
    'metrics.ts',
    'config.ts',
    'settings.ts',
  ],
  'apps/sidecar/src': [
    'main.ts',
    'doctor',
    'bundle',
    'sidecar.ts',
    'summary.ts',
    'watch',
    'signing',
    'lists',
    'policy',
    'open-keystore.ts',
    'keystores/keymanager',
    'keystores/remote',
    'keystores/ssv',
    'keystores/obol',
    'keystores',
    'health.ts',
    'events.ts',
    'metrics.ts',
    'findings.ts',
    'pem.ts',
    'config.ts',
    'config',
  ],
  'apps/verify/src': [
    'main.ts',
    'cli.ts',
    'commands.ts',
    'checks',
    'options.ts',
    'input.ts',
    'read.ts',
    'exit-message.ts',
    'verdicts.ts',
    'networks.ts',
    'errors.ts',
  ],
  'libs/client/src': [
    'index.ts',
    'follow.ts',
    'list-walk.ts',
    'connect.ts',
    'verdict.ts',
    'split-posts.ts',
    'requests.ts',
    'authentication.ts',
  ],
  'libs/api/src': ['client.ts', 'bundle.ts', 'routes.ts', 'contract.ts', 'schemas.ts', 'schemas'],
  'libs/chain/src': [
    'look-at-nodes.ts',
    'ssv',
    'stakewise',
    'execution',
    'consensus',
    'ipfs',
    'viem',
    'check-endpoints.ts',
    'networks.ts',
    'errors.ts',
  ],
  'libs/common/src': [
    'http',
    'own-pages.ts',
    'cli',
    'metrics.ts',
    'flow',
    'process',
    'findings.ts',
    'log',
    'settings.ts',
    'files',
    'json',
    'expected.ts',
    'time-text.ts',
    'hex.ts',
    'account.ts',
    'runbook.ts',
    'version.ts',
    'errors.ts',
  ],
  'libs/crypto/src': [
    'ssv',
    'cluster-lock',
    'keystores',
    'oracle',
    'threshold',
    'messages',
    'bls',
    'sealing.ts',
    'json-field.ts',
    'address.ts',
    'errors.ts',
  ],
  'libs/db/src': [
    'embedded',
    'migrate.ts',
    'check.ts',
    'try-lock.ts',
    'settle-tallies.ts',
    'queries',
    'connect.ts',
    'fitness.ts',
    'orm.ts',
    'client.ts',
    'schema.ts',
    'errors.ts',
  ],
  'libs/queue/src': ['look-at-redis.ts', 'queue.ts', 'backends.ts', 'redis-fitness.ts', 'jobs.ts'],
} as const satisfies Readonly<Record<string, readonly string[]>>

export type Part = keyof typeof ORDER

/** Whether an entry is a room, with a lint rule of its own. */
export const isFolder = (entry: string) => !entry.endsWith('.ts')

/** What files may not import, in the linter's patterns, and what it says of one that does. */
interface Rule {
  readonly group: readonly string[]
  readonly message: string
}

const COMMON_ONLY = ['@dvt-relayer/**', '!@dvt-relayer/common/**', '**/{apps,libs}/**', '../../**']
const NO_IO = ['node:{fs,net,http,https,child_process,timers}', 'node:{fs,timers}/**']
const CLIENT = ['@dvt-relayer/**', '!@dvt-relayer/{api,common,crypto}/**', '**/{apps,libs}/**', '../../**']
const CHAIN = ['@dvt-relayer/**', '!@dvt-relayer/{common,crypto}/**', '**/{apps,libs}/**']
const RELAYER = ['@dvt-relayer/sidecar/**', '**/{sidecar,verify}/src/**', '**/libs/**']
const SQL = ['@dvt-relayer/db/**', '{drizzle-orm,pg}', 'drizzle-orm/**']
const SIDECAR = [
  '@dvt-relayer/{relayer,db,queue}/**',
  '**/{relayer,verify}/src/**',
  '**/libs/**',
  '{fastify,pg,bullmq,ioredis,drizzle-orm}',
]
const BUNDLED = [
  '@dvt-relayer/**',
  '!@dvt-relayer/{common,crypto}/**',
  '@dvt-relayer/crypto/bls/blst*',
  '!@dvt-relayer/chain/{ipfs/cid,stakewise/oracle-config}.ts',
  '**/{relayer,sidecar}/src/**',
  '**/libs/**',
  '{eciesjs,secp256k1,typebox,viem}',
  '{typebox,viem}/**',
]

/** For each part what no file of it imports, and the same of its rooms, beside what stands above them. */
const RULES: Readonly<Record<Part, { part: Rule; room: (room: string) => Rule }>> = {
  'libs/common/src': {
    part: {
      group: ['@dvt-relayer/**', '**/{apps,libs}/**', '../../**'],
      message: 'libs/common imports nothing of the house',
    },
    room: () => ({
      group: ['@dvt-relayer/**', '../../**'],
      message: 'libs/common imports nothing of the house, and a room of it nothing that stands above',
    }),
  },
  'libs/crypto/src': {
    part: {
      group: [...COMMON_ONLY, ...NO_IO],
      message: 'libs/crypto may import libs/common only, does no I/O and has no clock',
    },
    room: (room) => ({
      group: [...COMMON_ONLY, ...NO_IO],
      message: `crypto/${room} imports nothing that stands above it, does no I/O and has no clock`,
    }),
  },
  'libs/api/src': {
    part: { group: COMMON_ONLY, message: 'libs/api may import libs/common only' },
    room: (room) => ({
      group: COMMON_ONLY,
      message: `api/${room} imports nothing that stands above it, nor another library than common`,
    }),
  },
  'libs/client/src': {
    part: { group: CLIENT, message: 'libs/client may import libs/api, libs/crypto and libs/common only' },
    room: (room) => ({ group: CLIENT, message: `client/${room} imports nothing that stands above it` }),
  },
  'libs/chain/src': {
    part: { group: CHAIN, message: 'libs/chain may import libs/crypto and libs/common only' },
    room: (room) => ({
      group: CHAIN,
      message: `chain/${room} imports nothing that stands above it, nor another library than crypto and common`,
    }),
  },
  'libs/db/src': {
    part: { group: COMMON_ONLY, message: 'libs/db may import libs/common only: it decides nothing' },
    room: (room) => ({
      // Of the folders in a room, which stand one deeper.
      group: [...COMMON_ONLY, '!../../schema.ts'],
      message: `db/${room} imports nothing that stands above it, nor another library than common`,
    }),
  },
  'libs/queue/src': {
    part: { group: COMMON_ONLY, message: 'libs/queue may import libs/common only: it decides nothing' },
    room: (room) => ({ group: COMMON_ONLY, message: `queue/${room} imports nothing that stands above it` }),
  },
  'apps/relayer/src': {
    part: { group: RELAYER, message: 'the apps never import each other' },
    room(room) {
      if (room.startsWith('services/'))
        return {
          group: ['@dvt-relayer/sidecar/**', '../../../**', 'fastify'],
          message: `${room} knows neither HTTP nor jobs, nor what stands above it`,
        }
      if (room === 'http' || room === 'jobs')
        return {
          group: [...RELAYER, ...SQL],
          message: `${room} is a front door: it calls services and touches no SQL`,
        }
      return { group: RELAYER, message: `relayer/${room} imports nothing that stands above it` }
    },
  },
  'apps/sidecar/src': {
    part: {
      group: SIDECAR,
      message: 'the sidecar never imports the relayer, a database, a queue or a web framework',
    },
    room: (room) => ({
      group: SIDECAR,
      message: `sidecar/${room} imports nothing that stands above it, nor a database, a queue or a web framework`,
    }),
  },
  'apps/verify/src': {
    part: {
      group: BUNDLED,
      message: 'what is bundled into one file has no native part and little besides libs/crypto',
    },
    room: () => ({ group: BUNDLED, message: 'the checks know no command, and nothing that cannot be bundled' }),
  },
}

/** Files that stand in a folder of rooms beside them. */
const SERVICES: readonly [string, Rule] = [
  'apps/relayer/src/services',
  {
    group: [...RELAYER, '**/{http,jobs}/**', 'fastify'],
    message: 'services know neither HTTP nor jobs: data moves one way',
  },
]

const braces = (names: readonly string[]) => (names.length === 1 ? names[0] : `{${names.join(',')}}`)

/** The imports of what stands above a room, as its files write them, and as those of a folder in it do. */
function arrowsOf(part: Part, room: string): string[] {
  const order: readonly string[] = ORDER[part]
  const above = order.slice(0, order.indexOf(room))
  const groups = new Map<string, string[]>()
  for (const entry of above) {
    if (above.some((other) => entry.startsWith(`${other}/`))) continue
    const folder = posix.relative(room, posix.dirname(entry)) || '.'
    const key = `${braces([folder, posix.join('..', folder)])}/ ${isFolder(entry) ? '/**' : '.ts'}`
    groups.set(key, [...(groups.get(key) ?? []), posix.basename(entry, '.ts')])
  }
  return Array.from(groups, ([key, names]) => key.replace(' ', () => braces(names) ?? ''))
}

/** Folders with what they may not import. Of several that hold a file the last one counts, so inner rooms come after outer ones. */
function rules(): (readonly [string, Rule])[] {
  const depth = (room: string) => room.split('/').length
  return (Object.keys(ORDER) as Part[]).flatMap((part) => {
    const rooms = ORDER[part].filter(isFolder).toSorted((a, b) => depth(a) - depth(b))
    const ofRooms = rooms.map((room) => {
      const { group, message } = RULES[part].room(room)
      return [`${part}/${room}`, { group: [...group, ...arrowsOf(part, room)], message }] as const
    })
    const ofPart = [[part, RULES[part].part] as const, ...(SERVICES[0].startsWith(`${part}/`) ? [SERVICES] : [])]
    return [...ofPart, ...ofRooms]
  })
}

/** `biome.arrows.json` */
export function renderArrows(): string {
  const list = (items: readonly string[]) => `[${items.map((item) => JSON.stringify(item)).join(', ')}]`
  const overrides = rules().map(
    ([folder, { group, message }]) => `    { "includes": ${list([`${folder}/**`, '!**/*.test.ts'])},
      "linter": { "rules": { "style": { "noRestrictedImports": { "level": "error", "options": { "patterns": [{
        "group": ${list(group)},
        "message": ${JSON.stringify(message)} }] } } } } } }`,
  )
  return `{
  "$schema": "./node_modules/@biomejs/biome/configuration_schema.json",
  "overrides": [
${overrides.join(',\n')}
  ]
}
`
}

if (import.meta.main) writeFileSync(new URL('../../biome.arrows.json', import.meta.url), renderArrows())
