/**
 * A process that speaks in the name of one node and lies: for every validator that is not ready it posts, again and again, a
 * signature of what is to be signed by another key, and says that this is the key of its node. It prints each signature, so that
 * the demo knows what must not stand in any log.
 */

import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { depositRoot, exitRoot } from '../chain/signing-roots.ts'
import { makeKey, signRoot } from '../keys.ts'
import { NODES } from '../story/scene.ts'

const POLL_MS = 200
const network = parseNetwork(process.env['NETWORK'] ?? '')
const relayerUrl = process.env['RELAYER_ENDPOINT']
const isGeneration4 = process.env['GENERATION'] === '4'
const shareIndex = Number(process.env['SHARE_INDEX'])
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
const { signal } = stopping

interface ExitItem {
  public_key: string
  validator_index: number
  is_exit_signature_ready: boolean
}
interface ValidatorItem {
  public_key: string
  validator_index: number
  vault: string
  validator_type: '0x01' | '0x02'
  amount: number
  is_signatures_ready: boolean
}

const getList = async (path: string): Promise<unknown> => (await fetch(`${relayerUrl}${path}`, { signal })).json()

const wrongExit = (secretKey: Uint8Array, validatorIndex: number) =>
  toHex(signRoot(exitRoot(network, { epoch: network.capellaEpoch, validatorIndex }), secretKey))

async function lieAboutExits(): Promise<void> {
  const { exits } = (await getList('/exits')) as { exits: ExitItem[] }
  const shares = exits
    .filter(({ is_exit_signature_ready: isReady }) => !isReady)
    .map(({ public_key, validator_index: index }) => ({
      public_key,
      exit_signature: wrongExit(makeKey().secretKey, index),
    }))
  await post('/exit-signature', shares)
}

async function lieAboutValidators(): Promise<void> {
  const { validators } = (await getList('/validators')) as { validators: ValidatorItem[] }
  const shares = validators
    .filter(({ is_signatures_ready: isReady }) => !isReady)
    .map(({ public_key, validator_index: index, vault, validator_type: type, amount }) => {
      const keys = Array.from({ length: NODES }, makeKey)
      const secretKey = keys[shareIndex - 1]?.secretKey ?? makeKey().secretKey
      const root = depositRoot(network, {
        publicKey: fromHex(public_key, 48),
        withdrawalCredentials: fromHex(`${type}${'00'.repeat(11)}${vault.slice('0x'.length)}`, 32),
        amountGwei: BigInt(amount),
      })
      return {
        public_key,
        exit_signature: wrongExit(secretKey, index),
        deposit_signature: toHex(signRoot(root, secretKey)),
        public_key_shares: keys.map(({ publicKey }, position) => ({
          share_index: position + 1,
          public_key_share: toHex(publicKey),
        })),
      }
    })
  await post('/signatures', shares)
}

async function post(path: string, shares: readonly { exit_signature: string; deposit_signature?: string }[]) {
  if (shares.length === 0) return
  for (const { exit_signature, deposit_signature } of shares)
    console.log([exit_signature, ...(deposit_signature === undefined ? [] : [deposit_signature])].join('\n'))
  await fetch(`${relayerUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ share_index: shareIndex, shares }),
    signal,
  })
}

while (!signal.aborted) {
  // A relayer that is down is lied to when it is back.
  await (isGeneration4 ? lieAboutValidators() : lieAboutExits()).catch(() => {})
  await pause(POLL_MS, signal)
}
