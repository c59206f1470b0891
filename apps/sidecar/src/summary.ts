/** What is said of keys and credentials, by `doctor` and at every start. Nothing secret is in it. */

import { count, finding } from '@dvt-relayer/common/findings.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { SidecarConfig } from './config.ts'
import type { Finding } from './findings.ts'
import type { KeyShare } from './keystores/keystore.ts'
import { identityOf } from './lists/identity.ts'

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** A cluster lock that was read. */
export interface LockFound {
  readonly lock: ClusterLock
  readonly file: string
  readonly isPinned: boolean
}

/** Where the key shares are, in words. */
function keysPlace({ remoteSigner, ssv }: Pick<SidecarConfig, 'remoteSigner' | 'ssv'>): string {
  if (remoteSigner !== undefined) return 'remote signers'
  return ssv === undefined ? 'keystores' : 'SSV registrations'
}

/** How many key shares there are, whose, and of which cluster. */
export function keysFinding(
  config: Pick<SidecarConfig, 'remoteSigner' | 'ssv'>,
  keyShares: readonly KeyShare[],
  locks: readonly LockFound[],
): Finding {
  const groups = [...Map.groupBy(keyShares, ({ shareIndex }) => shareIndex)].sort(([a], [b]) => a - b)
  const isSsv = config.ssv !== undefined
  const holders = groups.map(([index, { length }]) => ({
    ...(isSsv ? { operator_id: index } : { node_index: index - 1 }),
    share_index: index,
    keys: length,
  }))
  const whose = groups.map(([index]) => (isSsv ? `operator ${index}` : `node ${index - 1}`)).join(', ')
  const clusters = locks.map(({ lock, file, isPinned }) => ({
    file,
    lock_hash: toHex(lock.lockHash),
    validators: lock.validators.length,
    threshold: lock.threshold,
    nodes: lock.operators.length,
    pinned: isPinned,
  }))
  const words = clusters.map(
    ({ lock_hash, threshold, nodes, validators }) =>
      `cluster lock ${lock_hash}, ${threshold} of ${nodes} nodes, ${count(validators, 'validator')}`,
  )
  const message = [
    `${count(keyShares.length, 'key share')}${whose === '' ? '' : ` of ${whose}`} in ${keysPlace(config)}`,
    ...words,
  ].join('; ')
  const facts = { keys: keyShares.length, holders, clusters, from: keysPlace(config) }
  return finding('keys', keyShares.length > 0 ? 'good' : 'problem', message, { facts })
}

const SHOWN = {
  token: 'credentials',
  node_key: "charon's key (OBOL_ENR_KEY_FILE)",
  operator_key: "the SSV operator's key",
  nothing: 'no credentials',
} as const

/** Which credentials are set, never what they are, and whether they may be seen on the way. */
export function credentialsFinding(config: SidecarConfig): Finding {
  const { relayer, remoteSigner } = config
  const hasCredentials = ({ username, password }: URL) => username !== '' || password !== ''
  const isOpen = (url: URL) => url.protocol === 'http:' && !LOOPBACK.test(url.hostname)
  const signers = remoteSigner?.urls ?? []
  const details: string[] = []
  if (isOpen(relayer.endpoint) && hasCredentials(relayer.endpoint))
    details.push('RELAYER_ENDPOINT sends its credentials over http:// to another machine: use https://')
  if (signers.some(isOpen))
    details.push(
      'REMOTE_SIGNER_URL is http:// on another machine: whoever is between can ask for signatures; use https://',
    )
  const facts = {
    relayer: hasCredentials(relayer.endpoint),
    ...(remoteSigner && {
      signers: signers.filter(hasCredentials).length,
      client_certificate: remoteSigner.tls.certFile !== undefined,
    }),
  }
  const words = [`${SHOWN[identityOf(config) ?? 'nothing']} for the relayer`]
  if (remoteSigner !== undefined)
    words.push(
      `${facts.client_certificate ? 'a' : 'no'} client certificate and ${facts.signers ? 'credentials' : 'no credentials'} for the remote signer`,
    )
  return finding('credentials', details.length > 0 ? 'warning' : 'good', words.join('; '), { details, facts })
}
