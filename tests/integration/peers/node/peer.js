// pkijs and node-forge as peers: one request a line on standard input, "ok" or "failed REASON" for each.
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { createPrivateKey, webcrypto } = require("node:crypto");
const asn1js = require("asn1js");
const forge = require("node-forge");
const pkijs = require("pkijs");

pkijs.setEngine("node", new pkijs.CryptoEngine({ name: "node", crypto: webcrypto }));

const DATA = "1.2.840.113549.1.7.1";
const ENVELOPED = "1.2.840.113549.1.7.3";

const bytes = (path) => new Uint8Array(readFileSync(path)).slice().buffer;
const binary = (path) => readFileSync(path).toString("binary");
const certificate = (path) => pkijs.Certificate.fromBER(pem(path));

function pem(path) {
  const text = readFileSync(path, "latin1").match(/-----BEGIN CERTIFICATE-----([^-]*)/)[1];
  return new Uint8Array(Buffer.from(text, "base64")).slice().buffer;
}

function content(path) {
  const info = pkijs.ContentInfo.fromBER(bytes(path));
  return info.contentType === ENVELOPED
    ? new pkijs.EnvelopedData({ schema: info.content })
    : new pkijs.SignedData({ schema: info.content });
}

const operations = {
  // IN OUT CERTIFICATE CIPHER
  async "pkijs-encrypt"(input, output, to, cipher) {
    const enveloped = new pkijs.EnvelopedData();
    enveloped.addRecipientByCertificate(certificate(to), { oaepHashAlgorithm: "SHA-256" }, 0);
    const length = Number(cipher.split("-")[1]);
    await enveloped.encrypt({ name: "AES-CBC", length }, bytes(input));
    const info = new pkijs.ContentInfo({ contentType: ENVELOPED, content: enveloped.toSchema() });
    writeFileSync(output, Buffer.from(info.toSchema().toBER(false)));
  },

  // IN OUT KEY CERTIFICATE
  async "pkijs-decrypt"(input, output, key, to) {
    const pkcs8 = createPrivateKey(readFileSync(key)).export({ format: "der", type: "pkcs8" });
    const opened = await content(input).decrypt(0, {
      recipientCertificate: certificate(to),
      recipientPrivateKey: new Uint8Array(pkcs8).slice().buffer,
    });
    writeFileSync(output, Buffer.from(opened));
  },

  // IN OUT CONTENT|- TRUST
  async "pkijs-verify"(input, output, data, trust) {
    const signed = content(input);
    const given = data === "-" ? undefined : bytes(data);
    const trustedCerts = [certificate(trust)];
    if (!(await signed.verify({ signer: 0, data: given, trustedCerts, checkChain: false }))) {
      throw new Error("the signature does not fit");
    }
    const inside = given ?? signed.encapContentInfo.eContent.getValue();
    writeFileSync(output, Buffer.from(inside));
  },

  // IN OUT CERTIFICATE CIPHER
  async "forge-encrypt"(input, output, to, cipher) {
    const enveloped = forge.pkcs7.createEnvelopedData();
    enveloped.addRecipient(forge.pki.certificateFromPem(readFileSync(to, "latin1")));
    enveloped.content = forge.util.createBuffer(binary(input));
    const algorithm = { "aes-128-cbc": "aes128-CBC", "aes-192-cbc": "aes192-CBC", "aes-256-cbc": "aes256-CBC" };
    enveloped.encrypt(undefined, forge.pki.oids[algorithm[cipher]]);
    writeFileSync(output, forge.asn1.toDer(enveloped.toAsn1()).getBytes(), "binary");
  },

  // IN OUT KEY CERTIFICATE
  async "forge-decrypt"(input, output, key, to) {
    const enveloped = forge.pkcs7.messageFromAsn1(forge.asn1.fromDer(binary(input)));
    const owner = forge.pki.certificateFromPem(readFileSync(to, "latin1"));
    const recipient = enveloped.findRecipient(owner) ?? enveloped.recipients[0];
    enveloped.decrypt(recipient, forge.pki.privateKeyFromPem(readFileSync(key, "latin1")));
    writeFileSync(output, enveloped.content.getBytes(), "binary");
  },

  // IN OUT KEY CERTIFICATE opaque|detached
  async "forge-sign"(input, output, key, from, form) {
    const signed = forge.pkcs7.createSignedData();
    const signer = forge.pki.certificateFromPem(readFileSync(from, "latin1"));
    signed.content = forge.util.createBuffer(binary(input));
    signed.addCertificate(signer);
    signed.addSigner({
      key: forge.pki.privateKeyFromPem(readFileSync(key, "latin1")),
      certificate: signer,
      digestAlgorithm: forge.pki.oids.sha256,
      authenticatedAttributes: [
        { type: forge.pki.oids.contentType, value: DATA },
        { type: forge.pki.oids.messageDigest },
        { type: forge.pki.oids.signingTime, value: new Date() },
      ],
    });
    signed.sign({ detached: form === "detached" });
    writeFileSync(output, forge.asn1.toDer(signed.toAsn1()).getBytes(), "binary");
  },
};

(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    const [operation, ...rest] = line.split(" ");
    try {
      await operations[operation](...rest);
      console.log("ok");
    } catch (failure) {
      console.log(`failed ${String(failure).replaceAll("\n", " ")}`);
    }
  }
})();
