import java.io.File;
import org.apache.flink.client.deployment.ClusterSpecification;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.kubernetes.kubeclient.FlinkKubeClient;
import org.apache.flink.kubernetes.kubeclient.FlinkKubeClientFactory;
import org.apache.flink.kubernetes.kubeclient.FlinkPod;
import org.apache.flink.kubernetes.operator.kubeclient.factory.StandaloneKubernetesJobManagerFactory;
import org.apache.flink.kubernetes.operator.kubeclient.factory.StandaloneKubernetesTaskManagerFactory;
import org.apache.flink.kubernetes.operator.kubeclient.parameters.StandaloneKubernetesJobManagerParameters;
import org.apache.flink.kubernetes.operator.kubeclient.parameters.StandaloneKubernetesTaskManagerParameters;
import org.apache.flink.kubernetes.shaded.io.fabric8.kubernetes.api.model.apps.Deployment;
import org.apache.flink.kubernetes.shaded.io.fabric8.kubernetes.client.utils.Serialization;
import org.apache.flink.kubernetes.utils.KubernetesUtils;

/**
 * Prints, as YAML, the deployments that Flink's Kubernetes operator makes of files with pod templates, in the mode
 * standalone: of a JobManager where a file's name begins with jobManager, else of TaskManagers.
 */
public class FlinkOperator {
    private static final ClusterSpecification SIZE = new ClusterSpecification.ClusterSpecificationBuilder()
        .setMasterMemoryMB(2048).setTaskManagerMemoryMB(4096).createClusterSpecification();

    public static void main(String[] files) throws Exception {
        // What the operator sets from other fields of a FlinkDeployment.
        Configuration configuration = new Configuration();
        configuration.setString("kubernetes.cluster-id", "curate-beam-curate");
        configuration.setString("kubernetes.namespace", "curation");
        configuration.setString("kubernetes.service-account", "curate-beam-curate");
        configuration.setString("kubernetes.container.image.ref", "flink:1.20.4");
        configuration.setString("kubernetes.taskmanager.cpu.amount", "1");
        configuration.setString("blob.server.port", "6124");
        configuration.setString("taskmanager.rpc.port", "6122");
        try (FlinkKubeClient client = FlinkKubeClientFactory.getInstance().fromConfiguration(configuration, "test")) {
            for (String name : files) {
                File file = new File(name);
                FlinkPod template = KubernetesUtils.loadPodFromTemplateFile(client, file, "flink-main-container");
                System.out.println(Serialization.asYaml(deployment(file, template, configuration)));
            }
        }
    }

    private static Deployment deployment(File file, FlinkPod template, Configuration configuration) throws Exception {
        if (file.getName().startsWith("jobManager")) {
            return StandaloneKubernetesJobManagerFactory.buildKubernetesJobManagerSpecification(
                template, new StandaloneKubernetesJobManagerParameters(configuration, SIZE)).getDeployment();
        }
        return StandaloneKubernetesTaskManagerFactory.buildKubernetesTaskManagerDeployment(
            template, new StandaloneKubernetesTaskManagerParameters(configuration, SIZE));
    }
}
