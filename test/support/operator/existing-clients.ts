/**
 * Clients of today beside Operator 4.2 (`operator.ts`): sidecars 1, 2.0 and 2.1 and Operator 3.1.10, as far as a relayer can tell
 * (docs/protocol.md#8-generation-3, docs/protocol.md#9-generation-4). Each call has a connection of its own, credentials of the URL go as
 * Basic at once, redirects are followed.
 */

import { get } from 'node:http'
import type { ExitItem, ValidatorItem, ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { type KeyedValidator, partialExit, signedPair } from '../world/nodes.ts'
import { OperatorFailure, postAsOperator } from './operator-http.ts'

const TOTAL_MS = 10_000

/** `GET`: the JSON of a 200. @throws {OperatorFailure} for everything else */
export async function getAsClient(url: string, path: string): Promise<Record<string, unknown>> {
  const target = new URL(path, url)
  const auth = `${decodeURIComponent(target.username)}:${decodeURIComponent(target.password)}`
  const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
  const fail = (cause: Error) => reject(new OperatorFailure('no answer', { cause }))
  const { hostname, port, pathname, search } = target
  const options = { hostname, port, path: `${pathname}${search}`, agent: false, signal: AbortSignal.timeout(TOTAL_MS) }
  const request = get({ ...options, ...(target.username === '' ? {} : { auth }) }, (response) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('error', fail)
    response.on('end', () => {
      const [status = 0, text] = [response.statusCode, Buffer.concat(chunks).toString()]
      if (status === 307) resolve(getAsClient(url, response.headers.location ?? ''))
      else if (status === 200) resolve(JSON.parse(text) as Record<string, unknown>)
      else reject(new OperatorFailure('refused', { status, text }))
    })
  })
  request.on('error', fail)
  return promise
}

export interface ExistingSidecar {
  /**
   * What it does at every poll: one GET, one POST with everything it finds to sign, nothing when there is nothing. Returns the
   * status of the post, or of the GET that failed; undefined when it posted nothing.
   *
   * @throws what would end its loop for ever: a list that is not as documented
   */
  round(): Promise<number | undefined>
}

/**
 * A sidecar of a node, by version.
 *
 * - 1 signs every exit that is not ready, whether its index is there or not, and posts it at every poll.
 * - 2.1 signs what lacks its index, ready or not, drops rows without a vault, and sends everybody's public key shares.
 * - 2.0 leaves those out.
 *
 * @param node.slash asks with a slash at the end of every path, so that it is redirected
 */
export function createExistingSidecar(
  version: '1' | '2.0' | '2.1',
  node: {
    url: string
    network: Network
    validators: readonly KeyedValidator[]
    shareIndex: number
    slash?: boolean
  },
): ExistingSidecar {
  const { url, network, shareIndex, slash = false } = node
  // Keys are matched to the lock by their exact text.
  const held = new Map<unknown, KeyedValidator>(
    node.validators.map((validator) => [toHex(validator.publicKey), validator]),
  )
  const path = (name: string) => (slash ? `${name}/` : name)

  async function list<Item>(name: 'exits' | 'validators', fields: readonly (keyof Item)[]): Promise<Item[]> {
    const items = (await getAsClient(url, path(`/${name}`)))[name]
    if (!Array.isArray(items)) throw new TypeError(`no list of ${name}`)
    for (const item of items)
      for (const field of fields) if (!(field in item)) throw new TypeError(`an item without ${String(field)}`)
    for (const { validator_index: index } of items)
      if (!Number.isSafeInteger(index)) throw new TypeError(`${index} is no validator index`)
    return items
  }

  async function signExits() {
    const exits = await list<ExitItem>('exits', ['public_key', 'validator_index', 'is_exit_signature_ready'])
    return exits.flatMap(({ public_key, validator_index, is_exit_signature_ready: isReady }) => {
      const validator = held.get(public_key)
      if (validator === undefined || isReady) return []
      return [{ public_key, exit_signature: partialExit(network, validator, shareIndex, validator_index) }]
    })
  }

  async function signPairs() {
    const fields = [
      'vault',
      'public_key',
      'amount',
      'validator_index',
      'validator_type',
      'share_indexes_ready',
    ] as const
    const items = await list<ValidatorItem>('validators', fields)
    return items.flatMap((item) => {
      const validator = held.get(item.public_key)
      if (!item.vault || validator === undefined || item.share_indexes_ready.includes(shareIndex)) return []
      return [signedPair(network, validator, shareIndex, item, version === '2.1')]
    })
  }

  return {
    async round() {
      try {
        const shares = version === '1' ? await signExits() : await signPairs()
        if (shares.length === 0) return undefined
        const target = path(version === '1' ? '/exit-signature' : '/signatures')
        await postAsOperator(url, target, { share_index: shareIndex, shares })
        return 200
      } catch (error) {
        if (error instanceof OperatorFailure && error.status !== undefined) return error.status
        throw error
      }
    },
  }
}

/**
 * One `POST /validators` of Operator 3.1.10: it never reads `ready`, and finds its keys as it spelled them.
 *
 * @returns the items in the order of the keys, undefined while one lacks its shares
 * @throws what would be an error of its own: a key it did not ask for, an item without shares, null included
 */
export async function askAsOperator3(
  url: string,
  publicKeys: readonly string[],
): Promise<ValidatorsResponse['validators'] | undefined> {
  const answer = (await postAsOperator(url, '/validators', {
    public_keys: publicKeys,
  })) as unknown as ValidatorsResponse
  const found = new Map(answer.validators.map((item) => [item.public_key, item]))
  for (const [key, item] of found)
    if (!publicKeys.includes(key) || !('oracles_exit_signature_shares' in item))
      throw new TypeError(`strange item ${key}`)
  const items = publicKeys.flatMap((key) => found.get(key) ?? [])
  if (items.length < publicKeys.length) throw new TypeError('an answer without some of the keys')
  return items.every((item) => item.oracles_exit_signature_shares !== null) ? items : undefined
}
