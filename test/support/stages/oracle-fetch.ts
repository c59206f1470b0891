/** Oracles as clients of a relayer: they sign requests, fetch their shares, decrypt them and check them. */

import { randomBytes } from 'node:crypto'
import type { ExitShareItem, ExitSharesResponse } from '@dvt-relayer/api/schemas.ts'
import { ExitSharesResponse as ExitSharesSchema } from '@dvt-relayer/api/schemas.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { createFastEcies, oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { Compile } from 'typebox/compile'
import { privateKeyToAccount } from 'viem/accounts'
import { expect } from 'vitest'
import type { TestOracle } from '../chain/oracles.ts'
import { engine } from '../world/nodes.ts'
import { type Answer, ask } from '../world/world.ts'

const schema = Compile(ExitSharesSchema)
const ecies = createFastEcies()

export const addressOf = ({ publicKey }: Pick<TestOracle, 'publicKey'>): string => oracleAddress(publicKey)

/** What an oracle signs, as docs/operating/oracles.md tells it: no code is shared with the relayer. */
export async function signedHeaders(
  { secretKey }: Pick<TestOracle, 'secretKey'>,
  path: string,
  change: { method?: string; network?: string; time?: number; nonce?: Uint8Array; signedPath?: string } = {},
): Promise<{ authorization: string }> {
  const { method = 'GET', network = 'hoodi', time = Math.floor(Date.now() / 1000), signedPath = path } = change
  const nonce = toHex(change.nonce ?? randomBytes(16))
  const message = `dvt-relayer request\nnetwork: ${network}\nmethod: ${method}\npath: ${signedPath}\ntime: ${time}\nnonce: ${nonce}`
  const signature = await privateKeyToAccount(toHex(secretKey)).signMessage({ message })
  return { authorization: `Oracle ${time}:${nonce}:${signature}` }
}

/** The path of an oracle's shares; `oracle` in any spelling. */
export function pathOf(oracle: string, query: Record<string, string | number> = {}): string {
  const text = Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')
  return `/oracles/${oracle}/exit-shares${text === '' ? '' : `?${text}`}`
}

/** `GET /oracles/{oracle}/exit-shares`, whatever comes back. */
export const askShares = (
  url: string,
  oracle: string,
  query: Record<string, string | number> = {},
  headers: Record<string, string> = {},
): Promise<Answer> => ask(url, pathOf(oracle, query), { headers })

/** A good answer of it, of the documented shape. */
export async function fetchShares(...request: Parameters<typeof askShares>): Promise<ExitSharesResponse> {
  const answer = await askShares(...request)
  expect([answer.status, answer.text.slice(0, answer.status === 200 ? 0 : 300)]).toEqual([200, ''])
  expect(schema.Check(answer.json)).toBe(true)
  return answer.json as ExitSharesResponse
}

/** Everything there is, page by page. */
export async function walkShares(
  url: string,
  oracle: string,
  query: Record<string, string | number> = {},
  after?: string,
): Promise<{ items: ExitShareItem[]; cursor: string }> {
  const items: ExitShareItem[] = []
  for (let cursor = after; ; ) {
    const page = await fetchShares(url, oracle, { ...query, ...(cursor === undefined ? {} : { after: cursor }) })
    if (page.exit_shares.length === 0) return { items, cursor: page.cursor }
    items.push(...page.exit_shares)
    cursor = page.cursor
  }
}

/** Decrypts a share and checks it under its public key share. Returns it with its place. @throws when it is a wrong one */
export function openShare(network: Network, { secretKey }: TestOracle, item: ExitShareItem) {
  const message = exitSigningRoot(network, { epoch: item.epoch, validatorIndex: item.validator_index })
  const share = ecies.decrypt(secretKey, fromHex(item.encrypted_exit_signature, 193))
  if (!engine.verify(fromHex(item.public_key_share, 48), message, share)) throw new Error('a wrong share')
  return { index: BigInt(item.oracle_set.place), point: share, message }
}

/** Whether these oracles' items of one validator rebuild its exit. */
export function canExit(network: Network, held: readonly { oracle: TestOracle; item: ExitShareItem }[]): boolean {
  const shares = held.map(({ oracle, item }) => openShare(network, oracle, item))
  const [first] = held
  if (first === undefined || shares[0] === undefined) return false
  return engine.verify(fromHex(first.item.public_key, 48), shares[0].message, engine.interpolateSignatures(shares))
}
