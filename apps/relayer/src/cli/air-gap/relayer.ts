/**
 * The relayer as the commands for bundles see it: over HTTP with a token, as a sidecar does, so that whoever runs a node can carry its
 * bundles, and what is handed in goes the one way that signatures go.
 */

import { BundleError, type BundleOwner, clusterWords } from '@dvt-relayer/api/bundle.ts'
import { createRelayerClient, type RelayerClient } from '@dvt-relayer/api/client.ts'
import { MOST_COVERED, type Whoami } from '@dvt-relayer/api/schemas.ts'
import { withToken } from '@dvt-relayer/client/authentication.ts'
import { createRequests } from '@dvt-relayer/client/requests.ts'
import { isVerdict, readVerdict } from '@dvt-relayer/client/verdict.ts'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readText } from '@dvt-relayer/common/files/text-file.ts'
import { HttpError, parseAnswer } from '@dvt-relayer/common/http/client.ts'

const TIMEOUT_MS = 30_000
/** A relayer that is just started again is waited for. */
const RETRY_MS = 10_000
/** A list of 100,000 validators, as a sidecar reads it. */
const LIST = { maxBytes: 64 * 1024 * 1024, maxValues: 4_000_000 }
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** Opens the client. @throws {BootError} USAGE, TOKEN_FILE_UNREADABLE */
export async function openRelayer(endpoint: string, tokenFile: string): Promise<RelayerClient> {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new BootError('USAGE', '--relayer must be the URL of the relayer, for example https://relayer.example')
  if (url.username !== '' || url.password !== '')
    throw new BootError(
      'USAGE',
      '--relayer must have no credentials in it, which everybody on this machine could read: write the token into a file and name that with --token-file',
    )
  const token = tokenFile === '' ? undefined : await readToken(tokenFile)
  if (token !== undefined && url.protocol === 'http:' && !LOOPBACK.test(url.hostname))
    console.error('warning: the token goes over http:// to another machine: use https://')
  const ask = createRequests({
    endpoints: [url],
    timeoutMs: TIMEOUT_MS,
    retryTimeoutMs: RETRY_MS,
    program: 'dvt-relayer-bundle',
    authenticate: token === undefined ? undefined : withToken(token),
    ...LIST,
  })
  return createRelayerClient(async (asked) => {
    if (asked.method === 'GET') return parseAnswer(await ask(asked))
    return readVerdict(asked.path, await ask(asked, { accepts: isVerdict }))
  })
}

async function readToken(file: string): Promise<string> {
  try {
    const token = (await readText(file)).trim()
    if (/^\S+$/.test(token)) return token
  } catch (error) {
    throw new BootError('TOKEN_FILE_UNREADABLE', `the token file ${file} cannot be read (${reasonOf(error)})`)
  }
  throw new BootError('TOKEN_FILE_UNREADABLE', `the token file ${file} must hold the token and nothing else`)
}

/** Whom the relayer takes us for; undefined from one that does not say. */
export async function askWhoami(relayer: RelayerClient, signal: AbortSignal): Promise<Whoami | undefined> {
  try {
    return await relayer.getWhoami(signal)
  } catch (error) {
    if (error instanceof HttpError && error.status === 404) return undefined
    throw error
  }
}

/** @throws {BundleError} BUNDLE_NETWORK, BUNDLE_CLUSTER, BUNDLE_SHARE_INDEX: the relayer, or this token, is of another one */
export async function assertServes(relayer: RelayerClient, owner: BundleOwner, signal: AbortSignal): Promise<void> {
  const { network } = await relayer.getInfo(signal)
  if (network !== owner.network)
    throw new BundleError(
      'BUNDLE_NETWORK',
      `this bundle is of the network ${owner.network}, and the relayer of ${/^[\w-]{1,32}$/.test(network) ? network : 'another one'}: nothing is handed in`,
    )
  assertCovered(await askWhoami(relayer, signal), owner)
}

/** The same of what the token is for, where the relayer says it. @throws {BundleError} BUNDLE_CLUSTER, BUNDLE_SHARE_INDEX */
export function assertCovered(who: Whoami | undefined, { cluster, share_index: shareIndex }: BundleOwner): void {
  if (who === undefined) return
  const { binding, clusters, takes_any_key: takesAny } = who
  if (binding.share_indexes?.includes(shareIndex) === false)
    throw new BundleError(
      'BUNDLE_SHARE_INDEX',
      `the bundle is for share index ${shareIndex}, and the token for ${binding.share_indexes.join(', ')}: it is that of another node`,
    )
  if (takesAny || clusters.length >= MOST_COVERED || clusters.some(({ source }) => source === 'list')) return
  const isKnown =
    cluster.kind === 'obol'
      ? clusters.some(({ lock_hash: hash }) => hash === cluster.lock_hash)
      : clusters.some(({ source, share_indexes: own }) => source === 'ssv' && own.includes(shareIndex))
  if (!isKnown)
    throw new BundleError(
      'BUNDLE_CLUSTER',
      cluster.kind === 'obol'
        ? `the bundle is of ${clusterWords(cluster)}, which this relayer does not know (CLUSTER_LOCK_FILES there), or which has no node of this token`
        : `this relayer knows no SSV cluster of operator ${shareIndex} (SSV_OWNERS, SSV_KEYSHARES_FILES there)`,
    )
}
