import eu.europa.esig.dss.enumerations.Indication;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CertificateVerifier;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.spi.x509.revocation.ocsp.ExternalResourcesOCSPSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Judges the documents of a folder, each named for its level: {@code NAME.PAdES-BASELINE-LT.pdf}.
 *
 * <p>The folder has {@code root.der}, the one trust anchor; {@code at}, the time to validate for, in seconds; and, of
 * what authorities would say if they were asked, {@code *.crl} and {@code *.ocsp}. Nothing is fetched. Every signature
 * has to be TOTAL_PASSED at the level of its document's name, without an error and without a warning. Those of {@code
 * NAME.REFUSED.pdf} must not be, which shows that the judge judges.
 */
public final class Judge {
    private Judge() {}

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        CertificateVerifier verifier = verifier(folder);
        Date at = Date.from(Instant.ofEpochSecond(Long.parseLong(Files.readString(folder.resolve("at")).trim())));
        List<Path> documents = named(folder, ".pdf");
        int faults = documents.isEmpty() ? 1 : 0;
        for (Path document : documents) {
            faults += judge(document, verifier, at);
        }
        System.out.println(documents.size() + " documents, " + faults + " faults");
        System.exit(faults == 0 ? 0 : 1);
    }

    private static CertificateVerifier verifier(Path folder) throws Exception {
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        CertificateToken root = DSSUtils.loadCertificate(folder.resolve("root.der").toFile());
        trusted.addCertificate(root);
        CommonCertificateVerifier verifier = new CommonCertificateVerifier(true);
        verifier.setTrustedCertSources(trusted);
        verifier.setCrlSource(new ExternalResourcesCRLSource(streams(folder, ".crl")));
        verifier.setOcspSource(new ExternalResourcesOCSPSource(streams(folder, ".ocsp")));
        return verifier;
    }

    private static java.io.InputStream[] streams(Path folder, String ending) throws Exception {
        List<java.io.InputStream> found = new ArrayList<>();
        for (Path each : named(folder, ending)) {
            found.add(Files.newInputStream(each));
        }
        return found.toArray(new java.io.InputStream[0]);
    }

    private static List<Path> named(Path folder, String ending) throws Exception {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(each -> each.toString().endsWith(ending)).sorted().collect(Collectors.toList());
        }
    }

    private static int judge(Path document, CertificateVerifier verifier, Date at) {
        String[] parts = document.getFileName().toString().split("\\.");
        String claimed = parts[parts.length - 2];
        SignedDocumentValidator validator = SignedDocumentValidator.fromDocument(new FileDocument(new File(document.toString())));
        validator.setCertificateVerifier(verifier);
        validator.setValidationTime(at);
        Reports reports = validator.validateDocument();
        SimpleReport report = reports.getSimpleReport();
        int faults = report.getSignatureIdList().isEmpty() ? 1 : 0;
        for (String id : report.getSignatureIdList()) {
            Indication indication = report.getIndication(id);
            String level = report.getSignatureFormat(id).toString().replace('_', '-');
            List<String> said = new ArrayList<>();
            add(said, "error", report.getAdESValidationErrors(id));
            add(said, "warning", report.getAdESValidationWarnings(id));
            boolean passed = indication == Indication.TOTAL_PASSED && said.isEmpty();
            boolean good = claimed.equals("REFUSED") ? !passed : passed && level.equals(claimed);
            faults += good ? 0 : 1;
            System.out.println((good ? "ok    " : "FAULT ") + document.getFileName() + ": " + indication + " "
                + (report.getSubIndication(id) == null ? "" : report.getSubIndication(id) + " ") + level);
            said.forEach(each -> System.out.println("      " + each));
        }
        if (System.getenv("JUDGE_REPORT") != null) {
            System.out.println(reports.getXmlDetailedReport());
        }
        return faults;
    }

    private static void add(List<String> said, String kind, List<Message> messages) {
        messages.forEach(each -> said.add(kind + " " + each.getKey() + ": " + each.getValue()));
    }
}
