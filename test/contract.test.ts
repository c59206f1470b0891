/** The contract binds: a handler, a client or a path that is not what `libs/api` says does not compile. One run of the compiler for all probes. */

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiler = join(root, 'node_modules/typescript/bin/tsc')

const HEAD = `
import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { pathOf } from '@dvt-relayer/api/contract.ts'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { ExitsResponse, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import type { Bind } from '../../apps/relayer/src/http/bind.ts'
import { Rendered } from '../../apps/relayer/src/http/rendered.ts'
declare const bind: Bind
declare const client: RelayerClient
declare const bytes: Buffer
declare const signal: AbortSignal
export const uses = [pathOf, routes, bind, client, Rendered, bytes, signal]
export type Uses = [ExitsResponse, ValidatorListResponse]
`
const item = `public_key: '', validator_index: 1, epoch: 1, owner_public_key: '', ciphertext: '', created_at_timestamp: 1`

/** What compiles. */
const RIGHT = {
  'an answer': `bind(routes.getOwnerCopies, async ({ query }) => ({ owner_copies: [{ ${item} }], cursor: Number(query.after) }))`,
  'an answer without an optional field': `bind(routes.getInfo, async () => ({ network: 'hoodi' }))`,
  'one answer or the other': `bind(routes.postSignatures, async ({ body }) => body.share_index > 1 ? {} : { failures: [] })`,
  'bytes of the answer': `bind(routes.getExits, async () => new Rendered<ExitsResponse>(bytes))`,
  'the body': `bind(routes.postFund, async ({ body }) => ({ validators_manager_signature: body.public_keys.join(body.vault) }))`,
  'the parts of the path': `bind(routes.getVault, async ({ params, query }) => { throw new Error(params.vault + query.after) })`,
  'a call of the client': `export const exits = async () => (await client.getExits({ wait: 1 }, signal)).exits[0]?.validator_index.toFixed()`,
  'a path': `export const path: string = pathOf(routes.getVault, { vault: '0x' })`,
} as const

/** What does not, and how the compiler says it. */
const WRONG: Readonly<Record<string, readonly [code: string, says: RegExp]>> = {
  'a wrong answer field': [
    `bind(routes.getOwnerCopies, async () => ({ owner_copies: [], cursor: '1' }))`,
    /Type 'string' is not assignable to type 'number'/,
  ],
  'a wrong answer field of an item': [
    `bind(routes.getOwnerCopies, async () => ({ owner_copies: [{ ${item}, epoch: null }], cursor: 1 }))`,
    /'epoch'/,
  ],
  'a missing answer field': [
    `bind(routes.getOwnerCopies, async () => ({ owner_copies: [] }))`,
    /Property 'cursor' is missing/,
  ],
  'an answer field too many': [
    `bind(routes.getOwnerCopies, async () => ({ owner_copies: [], cursor: 1, next: 2 }))`,
    /Expected 3 arguments/,
  ],
  'an answer field too many in an item': [
    `bind(routes.getOwnerCopies, async () => ({ owner_copies: [{ ${item}, exit: '' }], cursor: 1 }))`,
    /Expected 3 arguments/,
  ],
  'a misspelt optional answer field': [
    `bind(routes.getInfo, async () => ({ network: 'hoodi', validator_manager_address: null }))`,
    /Expected 3 arguments/,
  ],
  'a misspelt field of one of two answers': [
    `bind(routes.postSignatures, async ({ body }) => body.share_index > 1 ? {} : { failure: [] })`,
    /not assignable/,
  ],
  'bytes of another answer': [
    `bind(routes.getExits, async () => new Rendered<ValidatorListResponse>(bytes))`,
    /Property 'exits' is missing/,
  ],
  'a wrong body type': [
    `bind(routes.postFund, async ({ body }) => ({ validators_manager_signature: body.amounts[0] ?? '' }))`,
    /'string \| number'|Type 'number' is not assignable to type 'string'/,
  ],
  'a body field there is not': [
    `bind(routes.postFund, async ({ body }) => ({ validators_manager_signature: body.signature }))`,
    /Property 'signature' does not exist/,
  ],
  'a body where there is none': [
    `bind(routes.getInfo, async ({ body }) => ({ network: body.network }))`,
    /'body' is possibly 'undefined'|Property 'network' does not exist/,
  ],
  'a wrong query type': [
    `bind(routes.getOwnerCopies, async ({ query }) => ({ owner_copies: [], cursor: query.after ?? 0 }))`,
    /'string \| number'|Type 'string' is not assignable to type 'number'/,
  ],
  'a query field there is not': [
    `bind(routes.getOwnerCopies, async ({ query }) => ({ owner_copies: [], cursor: Number(query.page) }))`,
    /Property 'page' does not exist/,
  ],
  'a part of the path there is not': [
    `bind(routes.getVault, async ({ params }) => { throw new Error(params.oracle) })`,
    /Property 'oracle' does not exist/,
  ],
  'a wrong body of the client': [
    `client.postSignatures({ share_index: '1', shares: [] }, signal)`,
    /'string'.*'number'/,
  ],
  'a wrong query of the client': [`client.getExits({ wait: '1' }, signal)`, /'string'.*'number'/],
  'an answer field that the client does not get': [
    `export const chain = async () => (await client.getInfo(signal)).chain`,
    /Property 'chain' does not exist/,
  ],
  'a path with another part': [`pathOf(routes.getVault, { oracle: '0x' })`, /'oracle' does not exist/],
}

const probes = [...Object.values(RIGHT), ...Object.values(WRONG).map(([code]) => code)]
let folder: string
/** What the compiler says, by probe. */
let said: Map<string, string>

beforeAll(async () => {
  // Under a name with a dot the project's own compiler run passes it by, and git ignores it.
  folder = mkdtempSync(join(root, 'test/.probe-'))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'] }))
  for (const [position, code] of probes.entries())
    writeFileSync(join(folder, `probe${position}.ts`), `${HEAD}\n${code}\n`)
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [compiler, '--noEmit', '--pretty', 'false', '-p', folder],
    { cwd: root, maxBuffer: 64 << 20 },
  ).catch((error: { stdout: string }) => error)
  // Lines that are indented say more of the error before them.
  const errors = stdout.split(/\n(?=\S)/).map((text) => ({ text, probe: /probe(\d+)\.ts\(/.exec(text)?.[1] }))
  const strange = errors.filter(({ text, probe }) => probe === undefined && text.trim() !== '')
  if (strange.length > 0) throw new Error(strange.map(({ text }) => text).join('\n'))
  said = new Map(
    probes.map((code, position) => [
      code,
      errors.flatMap(({ text, probe }) => (probe === String(position) ? [text] : [])).join('\n'),
    ]),
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the contract', () => {
  it.each(Object.entries(RIGHT))('lets pass: %s', (_name, code) => expect(said.get(code)).toBe(''))

  it.each(Object.entries(WRONG))('refuses: %s', (_name, [code, says]) => expect(said.get(code)).toMatch(says))
})
