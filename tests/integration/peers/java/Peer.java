import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Collection;
import java.util.Date;
import java.util.Map;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.Time;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.util.Store;
import org.bouncycastle.util.io.pem.PemReader;

/** BouncyCastle as a peer: one request a line on standard input, "ok" or "failed REASON" for each. */
public class Peer {
    static final Map<String, ASN1ObjectIdentifier> CIPHERS = Map.of(
        "aes-128-cbc", CMSAlgorithm.AES128_CBC, "aes-192-cbc", CMSAlgorithm.AES192_CBC,
        "aes-256-cbc", CMSAlgorithm.AES256_CBC, "aes-128-gcm", CMSAlgorithm.AES128_GCM,
        "aes-256-gcm", CMSAlgorithm.AES256_GCM, "3des-cbc", CMSAlgorithm.DES_EDE3_CBC);

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            try {
                answer(line.split(" "));
                System.out.println("ok");
            } catch (Throwable failure) {
                System.out.println("failed " + String.valueOf(failure).replace('\n', ' '));
            }
            System.out.flush();
        }
    }

    static void answer(String[] words) throws Exception {
        byte[] input = Files.readAllBytes(Paths.get(words[1]));
        byte[] output;
        switch (words[0]) {
            case "encrypt": // IN OUT CERTIFICATE CIPHER TRANSPORT whole|pieces|attributes
                output = encrypt(input, certificate(words[3]), CIPHERS.get(words[4]), words[5], words[6]);
                break;
            case "compress": // IN OUT
                output = new CMSCompressedDataGenerator()
                    .generate(new CMSProcessableByteArray(input), new ZlibCompressor()).getEncoded();
                break;
            case "decrypt": // IN OUT KEY CERTIFICATE
                output = decrypt(input, key(words[3]), certificate(words[4]));
                break;
            case "sign": // IN OUT KEY CERTIFICATE ALGORITHM opaque|detached
                output = sign(input, key(words[3]), certificate(words[4]), words[5], words[6].equals("opaque"));
                break;
            default: // verify IN OUT CONTENT|-
                output = verify(input, words[3].equals("-") ? null : Files.readAllBytes(Paths.get(words[3])));
        }
        Files.write(Paths.get(words[2]), output);
    }

    static X509Certificate certificate(String path) throws Exception {
        try (FileInputStream stream = new FileInputStream(path)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(stream);
        }
    }

    static PrivateKey key(String path) throws Exception {
        String text = new String(Files.readAllBytes(Paths.get(path)));
        byte[] der = new PemReader(new StringReader(text)).readPemObject().getContent();
        for (String kind : new String[] {"RSA", "EC", "Ed25519"}) {
            try {
                return KeyFactory.getInstance(kind, "BC").generatePrivate(new PKCS8EncodedKeySpec(der));
            } catch (Exception another) {
                continue;
            }
        }
        throw new IllegalArgumentException("no key that BouncyCastle reads");
    }

    static RecipientInfoGenerator recipient(X509Certificate certificate, String transport, int bits)
            throws Exception {
        if (certificate.getPublicKey().getAlgorithm().equals("RSA")) {
            if (transport.equals("v15")) {
                return new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC");
            }
            String hash = transport.equals("oaep") ? "SHA-1" : "SHA-" + transport.substring(5);
            AlgorithmParameterSpec parameters = new javax.crypto.spec.OAEPParameterSpec(
                hash, "MGF1", new java.security.spec.MGF1ParameterSpec(hash),
                javax.crypto.spec.PSource.PSpecified.DEFAULT);
            return new JceKeyTransRecipientInfoGenerator(certificate,
                new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(
                    PKCSObjectIdentifiers.id_RSAES_OAEP, parameters)).setProvider("BC");
        }
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(((java.security.interfaces.ECPublicKey) certificate.getPublicKey()).getParams());
        ASN1ObjectIdentifier agreement =
            transport.equals("cofactor") ? CMSAlgorithm.ECCDH_SHA384KDF : CMSAlgorithm.ECDH_SHA256KDF;
        KeyPair pair = generator.generateKeyPair();
        return new JceKeyAgreeRecipientInfoGenerator(agreement, pair.getPrivate(), pair.getPublic(),
            bits > 128 ? CMSAlgorithm.AES256_WRAP : CMSAlgorithm.AES128_WRAP)
            .addRecipient(certificate).setProvider("BC");
    }

    static byte[] encrypt(byte[] content, X509Certificate certificate, ASN1ObjectIdentifier cipher,
            String transport, String form) throws Exception {
        boolean gcm = cipher.equals(CMSAlgorithm.AES128_GCM) || cipher.equals(CMSAlgorithm.AES256_GCM);
        boolean big = cipher.equals(CMSAlgorithm.AES256_GCM) || cipher.equals(CMSAlgorithm.AES256_CBC);
        OutputEncryptor encryptor = new JceCMSContentEncryptorBuilder(cipher).setProvider("BC").build();
        RecipientInfoGenerator recipient = recipient(certificate, transport, big ? 256 : 128);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        if (form.equals("pieces")) {
            CMSEnvelopedDataStreamGenerator generator = new CMSEnvelopedDataStreamGenerator();
            generator.addRecipientInfoGenerator(recipient);
            generator.setBufferSize(1000);
            OutputStream stream = generator.open(bytes, encryptor);
            stream.write(content);
            stream.close();
            return bytes.toByteArray();
        }
        CMSTypedData data = new CMSProcessableByteArray(content);
        if (gcm) {
            CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
            if (form.equals("attributes")) {
                generator.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(attributes()));
                generator.setUnauthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(attributes()));
            }
            generator.addRecipientInfoGenerator(recipient);
            return generator.generate(data, (OutputAEADEncryptor) encryptor).getEncoded();
        }
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        generator.addRecipientInfoGenerator(recipient);
        return generator.generate(data, encryptor).getEncoded();
    }

    /** Two attributes, so that their order matters. */
    static AttributeTable attributes() {
        ASN1EncodableVector both = new ASN1EncodableVector();
        both.add(new Attribute(CMSAttributes.signingTime, new DERSet(new Time(new Date()))));
        both.add(new Attribute(CMSAttributes.contentType, new DERSet(PKCSObjectIdentifiers.data)));
        return new AttributeTable(both);
    }

    static byte[] decrypt(byte[] cms, PrivateKey key, X509Certificate certificate) throws Exception {
        Collection<RecipientInformation> recipients;
        boolean authenticated = false;
        try {
            recipients = new CMSEnvelopedData(cms).getRecipientInfos().getRecipients();
        } catch (Exception not) {
            recipients = new CMSAuthEnvelopedData(cms).getRecipientInfos().getRecipients();
            authenticated = true;
        }
        X509CertificateHolder holder = new X509CertificateHolder(certificate.getEncoded());
        for (RecipientInformation recipient : recipients) {
            if (!recipient.getRID().match(holder) && recipients.size() > 1) {
                continue;
            }
            Recipient by;
            if (recipient instanceof KeyTransRecipientInformation) {
                by = authenticated ? new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC")
                    : new JceKeyTransEnvelopedRecipient(key).setProvider("BC");
            } else {
                by = new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC");
                if (authenticated) {
                    by = new AgreedAuthenticatedRecipient(key);
                }
            }
            return recipient.getContent(by);
        }
        throw new IllegalArgumentException("not among the recipients");
    }

    /** BouncyCastle 1.72 has no key agreement recipient for AuthEnvelopedData: this makes one of its parts. */
    static class AgreedAuthenticatedRecipient extends JceKeyAgreeRecipient {
        AgreedAuthenticatedRecipient(PrivateKey key) {
            super(key);
            setProvider("BC");
        }

        public RecipientOperator getRecipientOperator(
                AlgorithmIdentifier wrap,
                AlgorithmIdentifier content, SubjectPublicKeyInfo sender,
                org.bouncycastle.asn1.ASN1OctetString material, byte[] encrypted) throws CMSException {
            final java.security.Key secret = extractSecretKey(wrap, content, sender, material, encrypted);
            final javax.crypto.Cipher cipher;
            try {
                cipher = javax.crypto.Cipher.getInstance("AES/GCM/NoPadding", "BC");
                byte[] parameters = content.getParameters().toASN1Primitive().getEncoded();
                java.security.AlgorithmParameters gcm = java.security.AlgorithmParameters.getInstance("GCM", "BC");
                gcm.init(parameters);
                cipher.init(javax.crypto.Cipher.DECRYPT_MODE, secret, gcm);
            } catch (Exception failure) {
                throw new CMSException("GCM", failure);
            }
            return new RecipientOperator(new Decryptor(content, cipher));
        }
    }

    static class Decryptor implements org.bouncycastle.operator.InputAEADDecryptor {
        private final AlgorithmIdentifier algorithm;
        private final javax.crypto.Cipher cipher;

        Decryptor(AlgorithmIdentifier algorithm, javax.crypto.Cipher cipher) {
            this.algorithm = algorithm;
            this.cipher = cipher;
        }

        public AlgorithmIdentifier getAlgorithmIdentifier() {
            return algorithm;
        }

        public java.io.InputStream getInputStream(java.io.InputStream stream) {
            return new org.bouncycastle.jcajce.io.CipherInputStream(stream, cipher);
        }

        public OutputStream getAADStream() {
            return new OutputStream() {
                public void write(int octet) {
                    cipher.updateAAD(new byte[] {(byte) octet});
                }
            };
        }

        public byte[] getMAC() {
            return null; // the tag stands behind the ciphertext, where the cipher itself looks for it
        }
    }

    static byte[] sign(byte[] content, PrivateKey key, X509Certificate certificate, String algorithm,
            boolean opaque) throws Exception {
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(
            new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()).build(
                new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key), certificate));
        generator.addCertificates(new JcaCertStore(Arrays.asList(certificate)));
        return generator.generate(new CMSProcessableByteArray(content), opaque).getEncoded();
    }

    static byte[] verify(byte[] cms, byte[] content) throws Exception {
        CMSSignedData signed = content == null ? new CMSSignedData(cms)
            : new CMSSignedData(new CMSProcessableByteArray(content), cms);
        Store<X509CertificateHolder> certificates = signed.getCertificates();
        for (SignerInformation signer : signed.getSignerInfos().getSigners()) {
            Collection<X509CertificateHolder> found = certificates.getMatches(signer.getSID());
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(
                    found.iterator().next()))) {
                throw new IllegalArgumentException("the signature does not fit");
            }
        }
        if (signed.getSignerInfos().size() == 0) {
            throw new IllegalArgumentException("no signer");
        }
        return content == null ? (byte[]) signed.getSignedContent().getContent() : content;
    }
}
