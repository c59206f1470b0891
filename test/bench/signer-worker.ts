/** A remote signer on a thread of its own, so that its work is not that of the measuring process. */

import { parentPort, workerData } from 'node:worker_threads'
import { startWeb3Signer } from '../support/services/web3signer.ts'

const signer = await startWeb3Signer({ keys: workerData as Uint8Array[] })
parentPort?.postMessage(signer.url)
